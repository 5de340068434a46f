//! Support for the integration tests: the workload program whose bytes are
//! checked one by one, the runner that starts it plain or under
//! `socketvirt exec`, and the guards that clean up after both.

pub mod workload;
