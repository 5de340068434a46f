//! Ports for servers.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// The first of those that are tried.
const FIRST: u16 = 10_000;
/// The number of those that are tried.
const COUNT: u16 = 20_000;

/// A TCP port of the loopback address that nobody uses, another one each time.
///
/// No client is given it before its server begins: it is below those that the kernel chooses from. Processes begin at
/// places that differ.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(process::id() % 400).unwrap_or(0) * 50;
    loop {
        let port = FIRST + (own + NEXT.fetch_add(1, Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
