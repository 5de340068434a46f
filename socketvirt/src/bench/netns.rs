//! Network namespaces for measurements that need their own.
//!
//! No namespace has a name or a mount: each is held by a descriptor, and goes,
//! with the devices in it, when this process does, however it ends.

use std::{
    fs::{self, File},
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

/// Namespaces, and where in them the two ends live.
#[derive(Debug)]
pub struct Network {
    place: WorkerArgs,
    _held: Vec<Namespace>,
}

impl Network {
    /// The loopback device of a namespace without TIME-WAIT.
    ///
    /// Each closed connection occupies its four-tuple for a minute. At the rate
    /// of a benchmark that fills tables with 100,000 entries, and what is
    /// measured then is the search for a free port. A limit of 0 makes the
    /// kernel forget a connection as soon as it is closed, by the same path.
    ///
    /// # Errors
    /// When the kernel refuses the namespace or its limit.
    pub fn forgetful() -> Result<Self, Error> {
        let alone = Namespace::new()?;
        alone.ip("link set lo up")?;
        alone.inside(|| {
            let limit = "/proc/sys/net/ipv4/tcp_max_tw_buckets";
            fs::write(limit, "0").map_err(Error::io(format!("write {limit}")))
        })?;
        let mut place = WorkerArgs::loopback();
        place.client_netns = Some(alone.path());
        place.server_netns = Some(alone.path());
        Ok(Self {
            place,
            _held: vec![alone],
        })
    }

    /// Two namespaces, and a veth pair between them.
    ///
    /// # Errors
    /// When the kernel refuses a namespace, or `ip` a device.
    pub fn veth() -> Result<Self, Error> {
        let [client, server] = [Namespace::new()?, Namespace::new()?];
        let other = server.path().display().to_string();
        client.ip(&format!(
            "link add veth0 type veth peer name veth0 netns {other}"
        ))?;
        client.begin(CLIENT)?;
        server.begin(SERVER)?;
        Ok(Self::between(client, server, None))
    }

    /// Two namespaces, two veth pairs, and a bridge in a third.
    ///
    /// # Errors
    /// When the kernel refuses a namespace, or `ip` a device.
    pub fn bridge() -> Result<Self, Error> {
        let [client, server, middle] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        middle.ip("link add bridge0 type bridge")?;
        for (port, end, address) in [("port1", &client, CLIENT), ("port2", &server, SERVER)] {
            let other = end.path().display().to_string();
            middle.ip(&format!(
                "link add {port} type veth peer name veth0 netns {other}"
            ))?;
            middle.ip(&format!("link set {port} master bridge0 up"))?;
            end.begin(address)?;
        }
        middle.ip("link set bridge0 up")?;
        Ok(Self::between(client, server, Some(middle)))
    }

    fn between(client: Namespace, server: Namespace, middle: Option<Namespace>) -> Self {
        let mut place = WorkerArgs::loopback();
        place.ip = IpAddr::V4(SERVER);
        place.client_netns = Some(client.path());
        place.server_netns = Some(server.path());
        Self {
            place,
            _held: [client, server].into_iter().chain(middle).collect(),
        }
    }

    /// Where the two ends of a measurement live.
    #[must_use]
    pub fn place(&self) -> WorkerArgs {
        self.place.clone()
    }
}

/// A namespace, held by a descriptor.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one, with nothing up in it.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new() -> Result<Self, Error> {
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

    /// The descriptor that holds it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Does something inside.
    ///
    /// # Errors
    /// When it cannot be entered, or that fails.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        apart(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(Error::call("setns"))?;
            work()
        })
    }

    /// Sets its loopback device up, and the end of a veth pair that it was given.
    fn begin(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.ip("link set lo up")?;
        self.ip(&format!("address add {address}/24 dev veth0"))?;
        self.ip("link set veth0 up")
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    /// When it refuses.
    pub fn ip(&self, command: &str) -> Result<(), Error> {
        self.inside(|| {
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

/// Does something in a thread of its own, whose namespace may change.
///
/// # Errors
/// When that fails.
pub fn apart<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|_| {
            Err(Error::Ended(
                "a thread that changed its namespace",
                String::new(),
            ))
        })
    })
}
