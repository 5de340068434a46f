//! Two network namespaces, joined by veth pairs and a bridge in a third.
//!
//! No namespace has a name or a mount: each is held by a descriptor, and goes,
//! with the devices in it, when this process does, however it ends.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::{self, Command},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

use super::{error::Error, options::WorkerArgs};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The guard of the three namespaces.
#[derive(Debug)]
pub struct Bridge {
    client: Namespace,
    server: Namespace,
    _middle: Namespace,
}

impl Bridge {
    /// Builds the network.
    ///
    /// # Errors
    /// When the kernel refuses a namespace, or `ip` a device.
    pub fn new() -> Result<Self, Error> {
        let [client, server, middle] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        middle.ip("link add bridge0 type bridge")?;
        for (port, end, address) in [("port1", &client, CLIENT), ("port2", &server, SERVER)] {
            let other = end.path().display().to_string();
            middle.ip(&format!(
                "link add {port} type veth peer name veth0 netns {other}"
            ))?;
            middle.ip(&format!("link set {port} master bridge0 up"))?;
            end.ip("link set lo up")?;
            end.ip(&format!("address add {address}/24 dev veth0"))?;
            end.ip("link set veth0 up")?;
        }
        middle.ip("link set bridge0 up")?;
        Ok(Self {
            client,
            server,
            _middle: middle,
        })
    }

    /// Where the two ends of a measurement live.
    #[must_use]
    pub fn place(&self) -> WorkerArgs {
        WorkerArgs {
            peer: false,
            ip: IpAddr::V4(SERVER),
            client_netns: Some(self.client.path()),
            server_netns: Some(self.server.path()),
        }
    }
}

/// A namespace, held by a descriptor.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    fn new() -> Result<Self, Error> {
        // A thread of its own, so that the process stays where it is.
        apart(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(Error::call("unshare(CLONE_NEWNET)"))?;
            let path = "/proc/thread-self/ns/net";
            File::open(path)
                .map(Self)
                .map_err(Error::io(format!("open {path}")))
        })
    }

    /// A path by which other processes can open it, while this one lives.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd()))
    }

    /// Runs `ip` inside.
    fn ip(&self, command: &str) -> Result<(), Error> {
        apart(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(Error::call("setns"))?;
            let output = Command::new("ip")
                .args(command.split_whitespace())
                .output()
                .map_err(Error::io("run `ip` (package iproute2)"))?;
            if output.status.success() {
                return Ok(());
            }
            let answer = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::Ip {
                command: command.to_owned(),
                answer,
            })
        })
    }
}

fn apart<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|_| {
            Err(Error::Ended(
                "a thread that changed its namespace",
                String::new(),
            ))
        })
    })
}
