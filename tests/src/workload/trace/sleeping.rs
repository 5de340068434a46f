//! Readers that sleep in the kernel while something happens to them.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::{
        pthread::{pthread_kill, pthread_self},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        socket::{MsgFlags, Shutdown, recv, setsockopt, sockopt},
        time::{TimeVal, TimeValLike as _},
    },
    unistd::gettid,
};

use super::{
    Case, case,
    wire::{A, B, Wire},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("sleeping reader gets data", gets_data),
        case("sleeping reader sees the end", sees_end),
        case("sleeping reader sees a reset", sees_reset),
        case("sleeping reader shut down by its own side", own_shutdown),
        case("sleeping reader times out", times_out),
        case("sleeping reader interrupted", interrupted),
        case(
            "sleeping reader interrupted with SA_RESTART",
            interrupted_restart,
        ),
        case("sleeping reader waits for all", waits_for_all),
        case("sleeping reader, second thread sends", second_sends),
    ]
}

type Answer = (Result<usize, Errno>, Vec<u8>);

/// A thread asleep in `recv` on end B while `act` happens.
fn asleep(
    w: &mut Wire,
    flags: MsgFlags,
    size: usize,
    act: impl FnOnce(&mut Wire, nix::sys::pthread::Pthread) -> Result<()>,
) -> Result<()> {
    let fd: OwnedFd = w.owned(B).try_clone().context("dup")?;
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || -> Answer {
        let _ = tell.send((gettid(), pthread_self()));
        let mut buffer = vec![0; size];
        let result = recv(fd.as_raw_fd(), &mut buffer, flags);
        (result, buffer)
    });
    let (tid, pthread) = told.recv().context("the reader has gone")?;
    let stat = format!("/proc/self/task/{tid}/stat");
    // State S, and the kernel has it in recvfrom (45 on x86-64).
    let in_recv = || {
        let state = fs::read_to_string(&stat).unwrap_or_default();
        let call = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
        state.contains(") S ") && call.starts_with(&format!("{} ", libc::SYS_recvfrom))
    };
    while !in_recv() && !reader.is_finished() {
        thread::sleep(Duration::from_millis(1));
    }
    act(w, pthread)?;
    let (result, buffer) = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    let text = w.outcome(B, &buffer, result, true);
    w.note(format!("B wakes with {text}"));
    Ok(())
}

fn gets_data(w: &mut Wire) -> Result<()> {
    for size in [1, 100, 5000] {
        asleep(w, MsgFlags::empty(), 8000, |w, _| {
            w.send(A, size);
            Ok(())
        })?;
    }
    w.recv_all(B);
    Ok(())
}

fn sees_end(w: &mut Wire) -> Result<()> {
    asleep(w, MsgFlags::empty(), 100, |w, _| {
        w.shutdown(A, Shutdown::Write);
        Ok(())
    })
}

fn sees_reset(w: &mut Wire) -> Result<()> {
    asleep(w, MsgFlags::empty(), 100, |w, _| w.reset(A))?;
    w.recv(B, 100);
    Ok(())
}

fn own_shutdown(w: &mut Wire) -> Result<()> {
    asleep(w, MsgFlags::empty(), 100, |w, _| {
        w.shutdown(B, Shutdown::Read);
        Ok(())
    })
}

fn times_out(w: &mut Wire) -> Result<()> {
    setsockopt(
        &w.fd(B),
        sockopt::ReceiveTimeout,
        &TimeVal::milliseconds(50),
    )
    .context("SO_RCVTIMEO")?;
    asleep(w, MsgFlags::empty(), 100, |_, _| Ok(()))?;
    w.send(A, 10);
    w.recv_all(B);
    Ok(())
}

extern "C" fn ignore(_: i32) {}

fn interrupt(w: &mut Wire, flags: SaFlags) -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(ignore), flags, SigSet::empty());
    // SAFETY: the handler does nothing, which is safe in a signal's context.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.context("sigaction")?;
    asleep(w, MsgFlags::empty(), 100, |w, reader| {
        pthread_kill(reader, Signal::SIGUSR1).context("pthread_kill")?;
        if flags.contains(SaFlags::SA_RESTART) {
            w.send(A, 10);
        }
        Ok(())
    })?;
    w.send(A, 10);
    w.recv_all(B);
    Ok(())
}

fn interrupted(w: &mut Wire) -> Result<()> {
    interrupt(w, SaFlags::empty())
}

fn interrupted_restart(w: &mut Wire) -> Result<()> {
    interrupt(w, SaFlags::SA_RESTART)
}

fn waits_for_all(w: &mut Wire) -> Result<()> {
    asleep(w, MsgFlags::MSG_WAITALL, 300, |w, _| {
        w.send(A, 100);
        w.send(A, 100);
        w.send(A, 100);
        Ok(())
    })
}

fn second_sends(w: &mut Wire) -> Result<()> {
    for _ in 0..20 {
        asleep(w, MsgFlags::empty(), 1000, |w, _| {
            w.send(B, 100);
            w.recv_all(A);
            w.send(A, 100);
            Ok(())
        })?;
    }
    Ok(())
}
