//! The self-test: which receive mode this kernel gets right.
//!
//! It runs the data path itself on a real connection, in a network namespace
//! of its own, with this process in the cgroup that is to be accelerated.
//! Every check is one of the ways in which some kernel breaks programs.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
};
use socketvirt_common::config::{Mode, ReceiveMode};

use super::{
    config::ConfigMap,
    datapath::{DataPath, DataPathError},
};
use crate::kernel::require;

/// The longest that a check waits for bytes that must come.
const PATIENCE: Duration = Duration::from_secs(2);

/// The self-test could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The data path failed.
    #[error(transparent)]
    DataPath(#[from] DataPathError),
    /// The test's own namespace or sockets could not be made.
    #[error("the self-test could not {attempt}: {source}")]
    Setup {
        /// What was attempted.
        attempt: &'static str,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A switch could not be set.
    #[error("the self-test could not set a switch: {0}")]
    Switch(#[from] aya::maps::MapError),
}

/// What this kernel gets wrong in one receive mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect(String);

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The mode chosen, and why not a better one.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The best mode that passed.
    pub receive_mode: ReceiveMode,
    /// The modes that failed and their first defect.
    pub defects: Vec<(ReceiveMode, Defect)>,
}

/// Finds the receive mode and leaves the data path set to it, with the mode
/// of enrolment off. The caller's process must be in the attached cgroup.
///
/// # Errors
/// When the test could not be run; a kernel that fails it is no error.
pub fn choose(path: &mut DataPath, config: &mut ConfigMap) -> Result<Outcome, SelfTestError> {
    let mut defects = Vec::new();
    if !require::iterator_locks_sockets() {
        let defect =
            "before 6.5, enrolling a socket that the TCP iterator shows can deadlock the kernel";
        config.change(|config| config.receive_mode = ReceiveMode::TableOnly)?;
        return Ok(Outcome {
            receive_mode: ReceiveMode::TableOnly,
            defects: vec![(ReceiveMode::Unified, Defect(defect.into()))],
        });
    }
    for receive_mode in [ReceiveMode::Unified, ReceiveMode::TxOnly] {
        let unified = receive_mode == ReceiveMode::Unified;
        if unified {
            path.unify(true)?;
        }
        config.change(|config| {
            config.mode = Mode::Eager;
            config.receive_mode = receive_mode;
        })?;
        // A thread, because a namespace is entered by a thread for good.
        let tested = thread::scope(|scope| {
            scope
                .spawn(|| Test::prepare(path, config)?.run())
                .join()
                .unwrap_or_else(|_| Ok(Err(Defect("the self-test panicked".into()))))
        });
        config.change(|config| {
            config.mode = Mode::Off;
            config.memory_pressure = 0;
        })?;
        match tested? {
            Ok(()) => {
                return Ok(Outcome {
                    receive_mode,
                    defects,
                });
            }
            Err(defect) => defects.push((receive_mode, defect)),
        }
        if unified {
            path.unify(false)?;
        }
    }
    config.change(|config| config.receive_mode = ReceiveMode::TableOnly)?;
    Ok(Outcome {
        receive_mode: ReceiveMode::TableOnly,
        defects,
    })
}

/// A connection on the loopback of a fresh namespace.
struct Test<'a> {
    path: &'a DataPath,
    config: &'a mut ConfigMap,
    client: TcpStream,
    server: TcpStream,
}

/// `Ok(Err)` is a defect of the kernel, `Err` a test that could not be run.
type Tested = Result<Result<(), Defect>, SelfTestError>;

impl<'a> Test<'a> {
    fn prepare(path: &'a DataPath, config: &'a mut ConfigMap) -> Result<Self, SelfTestError> {
        let setup = |attempt| move |source: io::Error| SelfTestError::Setup { attempt, source };
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|errno| setup("make a network namespace")(errno.into()))?;
        loopback_up().map_err(setup("bring up its loopback"))?;
        let connect = || -> io::Result<(TcpStream, TcpStream)> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            let (server, _) = listener.accept()?;
            for end in [&client, &server] {
                end.set_nodelay(true)?;
                end.set_read_timeout(Some(PATIENCE))?;
            }
            Ok((client, server))
        };
        let (client, server) = connect().map_err(setup("connect to itself"))?;
        Ok(Self {
            path,
            config,
            client,
            server,
        })
    }

    /// The checks, each built on the ones before it.
    fn run(mut self) -> Tested {
        macro_rules! check {
            ($step:expr) => {
                if let Err(defect) = $step? {
                    return Ok(Err(defect));
                }
            };
        }
        check!(self.sends_fast(b"fast"));
        check!(self.shows(4, "redirected bytes"));
        check!(self.charges(4));
        check!(Ok::<_, SelfTestError>(self.reads(b"fast")));

        self.stack_only(true)?;
        self.send(b"stack")?;
        check!(self.shows(5, "bytes of the stack"));
        self.stack_only(false)?;
        check!(self.stays_on_stack(b" first"));
        check!(Ok::<_, SelfTestError>(self.reads(b"stack first")));

        // The order rule rests on copied_seq, so redirected bytes must not
        // have moved it.
        check!(self.sends_fast(b"one "));
        self.stack_only(true)?;
        self.send(b"two")?;
        self.stack_only(false)?;
        check!(self.shows(7, "redirected bytes and bytes of the stack"));
        check!(Ok::<_, SelfTestError>(self.reads(b"one two")));
        check!(self.sends_fast(b"again"));
        check!(Ok::<_, SelfTestError>(self.reads(b"again")));
        Ok(Ok(()))
    }

    fn stack_only(&mut self, on: bool) -> Result<(), SelfTestError> {
        Ok(self
            .config
            .change(|config| config.memory_pressure = u32::from(on))?)
    }

    fn fast_messages(&self) -> Result<u64, SelfTestError> {
        let flow = self.path.flows()?.get(&self.client, 0);
        Ok(flow.map_or(0, |flow| flow.total.fast_messages))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), SelfTestError> {
        self.client
            .write_all(bytes)
            .map_err(|source| SelfTestError::Setup {
                attempt: "send",
                source,
            })
    }

    fn sends_fast(&mut self, bytes: &[u8]) -> Tested {
        let before = self.fast_messages()?;
        self.send(bytes)?;
        Ok(if self.fast_messages()? == before + 1 {
            Ok(())
        } else {
            Err(Defect("a message that could be redirected was not".into()))
        })
    }

    fn stays_on_stack(&mut self, bytes: &[u8]) -> Tested {
        let before = self.fast_messages()?;
        self.send(bytes)?;
        Ok(if self.fast_messages()? == before {
            Ok(())
        } else {
            Err(Defect(
                "a message overtook unread bytes of the stack".into(),
            ))
        })
    }

    /// poll(2) and `FIONREAD` agree that `count` bytes wait.
    fn shows(&self, count: i32, what: &str) -> Tested {
        let mut fds = [PollFd::new(
            std::os::fd::AsFd::as_fd(&self.server),
            PollFlags::POLLIN,
        )];
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut fds, patience).map_err(|errno| SelfTestError::Setup {
            attempt: "poll",
            source: errno.into(),
        })?;
        if ready == 0 {
            return Ok(Err(Defect(format!("{what} do not wake poll(2)"))));
        }
        // What takes the stack may still be under way.
        let deadline = Instant::now() + PATIENCE;
        let waiting = loop {
            let waiting = fionread(&self.server).map_err(|source| SelfTestError::Setup {
                attempt: "ask for FIONREAD",
                source,
            })?;
            if waiting == count || Instant::now() >= deadline {
                break waiting;
            }
            thread::yield_now();
        };
        Ok(if waiting == count {
            Ok(())
        } else {
            Err(Defect(format!(
                "FIONREAD says {waiting} with {count} {what}"
            )))
        })
    }

    /// The receiver is charged for what waits; back-pressure rests on it.
    fn charges(&self, count: u32) -> Tested {
        let charged = rmem_alloc(&self.server).map_err(|source| SelfTestError::Setup {
            attempt: "ask for SO_MEMINFO",
            source,
        })?;
        Ok(if charged >= count {
            Ok(())
        } else {
            Err(Defect(
                "redirected bytes are not charged to the receiver".into(),
            ))
        })
    }

    fn reads(&mut self, expected: &[u8]) -> Result<(), Defect> {
        let mut got = vec![0; expected.len()];
        match self.server.read_exact(&mut got) {
            Ok(()) if got == expected => Ok(()),
            Ok(()) => Err(Defect("bytes arrived in another order".into())),
            Err(error) => Err(Defect(format!("bytes did not arrive: {error}"))),
        }
    }
}

/// Sets `IFF_UP` on `lo` of this thread's namespace.
fn loopback_up() -> io::Result<()> {
    /// `IFF_UP`, include/uapi/linux/if.h, as wide as the request has it.
    const IFF_UP: libc::c_short = 1;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: integers and an array of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: the request lives during the call and has the call's type.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes that can be read, as the kernel tells programs.
fn fionread(socket: &TcpStream) -> io::Result<i32> {
    let mut count = 0;
    // SAFETY: FIONREAD writes one int.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if answer == 0 {
        Ok(count)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `sk_rmem_alloc`, the first word of `SO_MEMINFO` (`SK_MEMINFO_RMEM_ALLOC`).
fn rmem_alloc(socket: &TcpStream) -> io::Result<u32> {
    /// `SO_MEMINFO`, include/uapi/asm-generic/socket.h.
    const SO_MEMINFO: libc::c_int = 55;
    /// `SK_MEMINFO_VARS`, `include/uapi/linux/sock_diag.h`.
    const WORDS: usize = 9;
    let mut words = [0_u32; WORDS];
    let mut length = libc::socklen_t::try_from(size_of_val(&words)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to the array.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer == 0 {
        Ok(words[0])
    } else {
        Err(io::Error::last_os_error())
    }
}
