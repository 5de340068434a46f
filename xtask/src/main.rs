//! Setup, build, demo, test and bench of socketvirt.
fn main() {}
