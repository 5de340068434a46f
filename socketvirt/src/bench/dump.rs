//! The costs of the socket table beside connections: memory, and the time of a
//! look at many sockets.

use std::{
    env, fs,
    os::fd::{AsFd as _, AsRawFd as _},
    process::{Child, Command, Stdio},
    time::Instant,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::Serialize;

use super::{error::Error, stats::median};
use crate::table::{
    TableError,
    keeper::{self, Keeper, Options},
};

/// The costs of the table.
#[derive(Debug, Serialize)]
pub struct TableCosts {
    /// Kernel memory of one row of a kept table.
    pub bytes_per_row: Option<u64>,
    /// Looks, at growing numbers of sockets.
    pub dumps: Vec<Dump>,
}

/// One look.
#[derive(Debug, Serialize)]
pub struct Dump {
    /// Sockets that were made for it, besides those of the host.
    pub sockets: usize,
    /// `socketvirt table --json` from start to end; the median of three.
    pub seconds: f64,
}

/// Sockets that are looked at.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Pairs of one process: what is allowed everywhere is 1024 descriptors.
const MOST: usize = 480;

/// Measures; what this machine does not allow is left out and reported.
pub fn measure(quick: bool, progress: &mut dyn FnMut(&str)) -> (TableCosts, Vec<Error>) {
    let mut failed = Vec::new();
    let bytes_per_row = match bytes_per_row() {
        Ok(bytes) => bytes,
        Err(error) => {
            failed.push(Error::Table(error));
            None
        }
    };
    let mut costs = TableCosts {
        bytes_per_row,
        dumps: Vec::new(),
    };
    let sizes = if quick { &SIZES[..2] } else { &SIZES[..] };
    for &sockets in sizes {
        progress(&format!("table, a look at {sockets} sockets"));
        match dump(sockets) {
            Ok(dump) => costs.dumps.push(dump),
            Err(error) => failed.push(error),
        }
    }
    (costs, failed)
}

/// As the kernel counts the map of a table that is kept.
fn bytes_per_row() -> Result<Option<u64>, TableError> {
    let rows = Options::default().rows;
    let keeper = Keeper::start(&Options::default())?;
    let used = keeper::kept()
        .and_then(|folder| aya::maps::MapData::from_pin(folder.join("sv_sockets")).ok())
        .and_then(|map| {
            let fd = map.fd().as_fd().as_raw_fd();
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix("memlock:"))?;
            line.trim().parse::<u64>().ok()
        });
    keeper.finish()?;
    Ok(used.map(|bytes| bytes / u64::from(rows)))
}

fn dump(sockets: usize) -> Result<Dump, Error> {
    let mut holders = Vec::new();
    let mut left = sockets / 2;
    while left > 0 {
        let pairs = left.min(MOST);
        holders.push(Holder::of(pairs)?);
        left -= pairs;
    }
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(look()?);
    }
    drop(holders);
    Ok(Dump {
        sockets,
        seconds: median(times).unwrap_or_default(),
    })
}

/// A process that has pairs of sockets open, until its input ends: a process
/// may not have as many as are wanted.
struct Holder(Child);

impl Holder {
    fn of(pairs: usize) -> Result<Self, Error> {
        let mut held = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            let pair = socketpair(
                AddressFamily::Unix,
                SockType::Stream,
                None,
                // Without close-on-exec, so that the process inherits them.
                SockFlag::empty(),
            );
            held.push(pair.map_err(Error::call("socketpair"))?);
        }
        Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(Error::io("start `cat`"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It has ended, or ends now.
        let _ = self.0.wait();
    }
}

fn look() -> Result<f64, Error> {
    let program = env::current_exe().map_err(Error::io("find this program"))?;
    let began = Instant::now();
    let status = Command::new(program)
        .args(["table", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(Error::io("start `socketvirt table`"))?;
    if status.success() {
        Ok(began.elapsed().as_secs_f64())
    } else {
        Err(Error::Ended("`socketvirt table`", format!(": {status}")))
    }
}
