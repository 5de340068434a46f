//! The command `socketvirt`.

use std::process::ExitCode;

fn main() -> ExitCode {
    socketvirt::cli::main()
}
