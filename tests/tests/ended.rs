//! Sockets that have ended before the agent looks, and whose memory is somebody
//! else's by then.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use nix::{
    fcntl::OFlag,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd::{pipe2, write},
};
use socketvirt_tests::{
    netns::Netns,
    process::until,
    run::{Mode, Run, shell, workload_path},
    session::Session,
};

/// Connections that end while the agent is stopped.
const CONNECTIONS: u64 = 3_000;

/// Pipes that take the pages of their sockets.
const PIPES: u64 = 1_200;

/// Packets of a pipe; each has a page of its own.
const PACKETS: usize = 16;

/// Bytes of a packet: less than a page, so that what lies behind them in the page
/// stays as the socket has left it, its cookie among it.
const PACKET: usize = 1_500;

#[test]
fn memory_that_is_somebody_elses_is_not_counted() {
    let _session = Session::beside_others();
    let netns = Netns::new("ended");
    let folder = tempfile::tempdir().expect("a folder");
    let [begun, ended] = ["begun", "ended"].map(|name| folder.path().join(name));
    let script = format!(
        "echo > {begun}; until [ -e $SOCKETVIRT_TEST_GO ]; do sleep 0.01; done\n\
         {workload} streams {ends} --connections 32 --total {CONNECTIONS} --phases pp:3 || exit 1\n\
         echo > {ended}; until [ -e $SOCKETVIRT_TEST_END ]; do sleep 0.01; done",
        begun = begun.display(),
        ended = ended.display(),
        workload = workload_path(),
        ends = netns.both_ends(),
    );
    let mut agent = Run::new(Mode::Adopt, shell(&script)).start();
    appears(&begun);
    agent.signal(Signal::SIGSTOP);
    agent.go();
    appears(&ended);
    let full = reuse().expect("pipes full of packets");
    agent.signal(Signal::SIGCONT);
    agent.end();
    let outcome = agent.finish();
    drop(full);
    let summary = outcome.success().summary();
    let sent = outcome.reported("sent");
    for path in ["fast", "stack"] {
        let [bytes, messages] =
            ["bytes", "messages"].map(|what| summary.count(&format!("/{what}/{path}")));
        assert!(bytes <= sent && messages <= sent, "{sent}: {summary}");
    }
    assert!(summary.count("/pairs") >= CONNECTIONS, "{summary}");
}

/// Waits for a file.
#[track_caller]
fn appears(file: &Path) {
    until("the script", || file.exists());
}

/// Gives back the memory of sockets that have ended, and writes into a part of each
/// page that was theirs.
fn reuse() -> io::Result<Vec<[OwnedFd; 2]>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most.min(2 * PIPES + 1_000), most)?;
    // A shrink gives back what is free; its pages are free after a grace period.
    for cache in ["TCP", "TCPv6"] {
        let file = format!("/sys/kernel/slab/{cache}/shrink");
        match fs::write(file, "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for _ in 0..2 {
        grace_period()?;
    }
    (0..PIPES)
        .map(|_| {
            let (read, written) = pipe2(OFlag::O_DIRECT | OFlag::O_NONBLOCK)?;
            for _ in 0..PACKETS {
                write(&written, &[0x7f; PACKET])?;
            }
            Ok([read, written])
        })
        .collect()
}

/// Waits for an RCU grace period (membarrier(2)).
fn grace_period() -> io::Result<()> {
    // SAFETY: takes two numbers.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
