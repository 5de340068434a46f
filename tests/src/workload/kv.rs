//! A client of redis or memcached that stores values and reads them back,
//! byte for byte.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
};
use test_support::random::Random;

use super::{
    args::{Kv, Protocol},
    watchdog,
};
use crate::{
    content::Content,
    gate::{self, Condition, Watched},
    net,
};

struct Client {
    fd: OwnedFd,
    watched: Watched,
    /// One of its operations was redirected.
    fast: bool,
    /// Bytes that it has sent.
    sent: u64,
    /// Received and not used yet.
    pending: Vec<u8>,
}

pub(crate) fn run(args: &Kv, deadline: u64) -> Result<()> {
    watchdog::start("kv", deadline);
    let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), args.port);
    let mut clients = Vec::new();
    for index in 0..args.connections {
        let (fd, _) = net::connect_to(&args.place, addr, index, !args.blocking, &[])?;
        clients.push(Client {
            watched: Watched::new(fd.as_raw_fd()),
            fast: gate::plain(),
            sent: 0,
            fd,
            pending: Vec::new(),
        });
    }
    let mut rng = Random::new(args.seed);
    let mut stored = vec![None; usize::try_from(args.keys)?];
    let gap = Duration::from_secs(1)
        .checked_div(args.rate)
        .unwrap_or_default();
    let start = Instant::now();
    let mut bytes = 0;
    let goes_on = |clients: &[Client]| {
        args.until_fast && clients.iter().any(|one| !one.fast) || args.until_go && !gate::may_go()
    };
    let mut operation = 0;
    while operation < args.operations || goes_on(&clients) {
        let slot = usize::try_from(rng.below(u64::from(args.keys)))?;
        let which = usize::try_from(rng.below(clients.len() as u64))?;
        let client = &mut clients[which];
        client.watched.begin();
        let key = format!("svt:{slot}");
        match stored[slot] {
            Some((version, size)) if !rng.once_in(3) => {
                let value = client.get(args.protocol, &key)?;
                ensure!(
                    value.len() == size,
                    "{key}: {} bytes read, {size} stored",
                    value.len()
                );
                content(args.seed, version)
                    .check(0, &value)
                    .with_context(|| key)?;
                bytes += size;
            }
            _ => {
                let size = rng.size(args.value);
                let mut value = vec![0; size];
                content(args.seed, operation).fill(0, &mut value);
                client.set(args.protocol, &key, &value)?;
                stored[slot] = Some((operation, size));
                bytes += size;
            }
        }
        client.fast = client.fast || client.watched.holds(Condition::Fast);
        client.watched.forget();
        operation += 1;
        if let Some(left) = (gap * operation).checked_sub(start.elapsed()) {
            thread::sleep(left);
        }
    }
    let redirected: u64 = clients
        .iter()
        .map(|one| one.sent.saturating_sub(one.watched.by_stack()))
        .sum();
    println!(r#"{{"operations":{operation},"bytes":{bytes},"redirected":{redirected}}}"#);
    Ok(())
}

fn content(seed: u64, version: u32) -> Content {
    Content::new(seed, version, true, false)
}

impl Client {
    fn set(&mut self, protocol: Protocol, key: &str, value: &[u8]) -> Result<()> {
        let head = match protocol {
            Protocol::Redis => format!(
                "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n",
                key.len(),
                value.len()
            ),
            Protocol::Memcached => format!("set {key} 0 0 {}\r\n", value.len()),
        };
        self.request(&[head.as_bytes(), value, b"\r\n"].concat())?;
        let answer = self.line()?;
        let expected = match protocol {
            Protocol::Redis => "+OK",
            Protocol::Memcached => "STORED",
        };
        ensure!(answer == expected, "set {key}: the server says {answer:?}");
        Ok(())
    }

    fn get(&mut self, protocol: Protocol, key: &str) -> Result<Vec<u8>> {
        let request = match protocol {
            Protocol::Redis => format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()),
            Protocol::Memcached => format!("get {key}\r\n"),
        };
        self.request(request.as_bytes())?;
        let head = self.line()?;
        let size = match protocol {
            Protocol::Redis => head.strip_prefix('$'),
            Protocol::Memcached => head
                .strip_prefix("VALUE ")
                .and_then(|rest| rest.rsplit(' ').next()),
        };
        let size: usize = size
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("get {key}: the server says {head:?}"))?;
        let mut value = self.exactly(size + 2)?;
        ensure!(
            value.ends_with(b"\r\n"),
            "get {key}: no end of line after {size} bytes"
        );
        value.truncate(size);
        if protocol == Protocol::Memcached {
            let end = self.line()?;
            ensure!(
                end == "END",
                "get {key}: the server says {end:?} after the value"
            );
        }
        Ok(value)
    }

    fn request(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    self.sent += n as u64;
                }
                Err(Errno::EAGAIN) => drop(net::wait(self.fd.as_fd(), libc::POLLOUT, 60_000)?),
                Err(errno) => bail!("send: {errno}"),
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        // A program waits before it reads, so that the file may be
        // non-blocking.
        ensure!(
            net::wait(self.fd.as_fd(), libc::POLLIN, 60_000)? != 0,
            "no answer within a minute"
        );
        match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => bail!("the server has closed the connection"),
            Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
            Err(Errno::EAGAIN) => {}
            Err(errno) => bail!("receive: {errno}"),
        }
        Ok(())
    }

    fn exactly(&mut self, size: usize) -> Result<Vec<u8>> {
        while self.pending.len() < size {
            self.fill()?;
        }
        Ok(self.pending.drain(..size).collect())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|w| w == b"\r\n") {
                let line = self.exactly(end + 2)?;
                return String::from_utf8(line[..end].to_vec())
                    .context("an answer that is no text");
            }
            ensure!(
                self.pending.len() < 4096,
                "an answer without an end: {:02x?}",
                &self.pending[..64]
            );
            self.fill()?;
        }
    }
}
