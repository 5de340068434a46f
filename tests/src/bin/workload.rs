//! Both ends of TCP connections whose every byte is checked.
//!
//! See [`socketvirt_tests::workload`]; the program exits with 0 only if each
//! byte arrived once, in order and unchanged.

use std::process::ExitCode;

fn main() -> ExitCode {
    socketvirt_tests::workload::run()
}
