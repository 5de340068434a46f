//! Real programs from the distribution.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
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

/// A TCP port that nobody uses, and that no client is given before its server
/// begins: it is below those that the kernel chooses from.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 400).unwrap_or(0) * 50;
    loop {
        let port = FIRST + (own + NEXT.fetch_add(1, Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
