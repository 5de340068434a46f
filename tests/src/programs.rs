//! Real programs from the distribution.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

/// The path of a program.
#[track_caller]
pub fn required(name: &str) -> PathBuf {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        .map(|folder| PathBuf::from(folder).join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run `cargo xtask setup`"))
}

/// A TCP port that nobody uses.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
