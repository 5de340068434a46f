//! Which signals we take, and which of them go on to the command.
//!
//! All signals are blocked and read from a signalfd, so that none ends us before we
//! have cleaned up, except those the kernel raises for a fault of our own and the
//! two that cannot be blocked.
//!
//! The terminal sends ^C, ^\, ^Z and size changes to each process of its
//! foreground group: the command, a member, has them already. The kernel marks
//! those with `SI_KERNEL`; a positive `si_code` never comes from `kill(2)` and
//! the like.
//!
//! `kill(2)` on a whole group (`kill -- -PGID`, a shell's `kill %1`) cannot be
//! told from one on our process alone: the kernel keeps no trace of the target.
//! The command then gets that signal from its sender and once more from
//! us. Losing it would be worse. When a process of the command's own cgroup is
//! the sender (`kill 0` in a script) the signal stays here: it was meant for the
//! group, and sending it back could go in circles. Process 1 passes that on too
//! (`orphans`). A value that `sigqueue(3)`
//! carries is not passed on.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
    process, ptr,
};

use nix::{
    errno::Errno,
    libc::{self, c_int},
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{Pid, getpid, getsid},
};

use super::{Child, Status, inherited, missed::Waiting, orphans};

/// Not blocked: raised by the kernel for a fault in our own code, or by our own
/// writes to a pipe without a reader.
const OURS: [Signal; 7] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGPIPE,
];

/// Those whose default action ends no process.
const HARMLESS: [c_int; 7] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Taking over the signals failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot take over this process's signals with {call}: {source}")]
pub struct SignalError {
    call: &'static str,
    source: io::Error,
}

/// The signals of this process, blocked and waiting to be passed on.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// The mask that the command is to start with.
    pub(super) mask: SigSet,
    pub(super) on_child: SigAction,
}

impl Signals {
    /// Blocks the signals and collects them.
    ///
    /// Call this before any thread is started: a thread that does not have
    /// them blocked would take them. They stay blocked for good, so that
    /// the clean-up after the command is not interrupted either.
    ///
    /// # Errors
    /// If the kernel refuses the signal mask, the disposition or the signalfd.
    pub fn block() -> Result<Self, SignalError> {
        let fail = |call| {
            move |errno: Errno| SignalError {
                call,
                source: errno.into(),
            }
        };
        let mut taken = SigSet::all();
        for signal in OURS {
            taken.remove(signal);
        }
        let mask = taken
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map_err(fail("pthread_sigmask"))?;
        // If our parent ignored SIGCHLD the kernel would reap the command for us,
        // and with it its status.
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no handler.
        let on_child =
            unsafe { sigaction(Signal::SIGCHLD, &default) }.map_err(fail("sigaction"))?;
        let fd = SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(fail("signalfd"))?;
        Ok(Self { fd, mask, on_child })
    }

    /// A signal that has arrived and would have ended this process, as the
    /// status to finish with. The command is not running yet, so nobody else
    /// can act on it. The signals before it are dropped.
    pub(super) fn interruption(&self) -> Result<Option<Status>, Errno> {
        while let Some(info) = self.fd.read_signal()? {
            let signal = number(info.ssi_signo);
            if !HARMLESS.contains(&signal) && !inherited::is_ignored(signal) {
                return Ok(Some(Status::Signaled(signal)));
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Child {
    /// Passes on what waits in the signalfd, and what the command has `missed`, though
    /// the terminal sends it to all of its group.
    pub(super) fn pass_signals_on(&mut self, missed: Waiting) -> Result<(), Errno> {
        while let Some(info) = self.signals.fd.read_signal()? {
            let signal = number(info.ssi_signo);
            let code = info.ssi_code;
            match signal {
                libc::SIGCHLD => {
                    self.follow_stop();
                    self.reap_orphans();
                }
                // A command that runs, or that the shell has continued together with
                // us, would handle it once too often.
                libc::SIGCONT if !self.is_stopped() => {}
                _ => {
                    // The command of process 1 is in another group.
                    let inside =
                        || !orphans::is_init() && is_inside(info.ssi_pid, &self.cgroup_procs);
                    if code > 0 && missed.has(signal)
                        || is_for_command(signal, code, leads_session(), inside)
                    {
                        self.send(signal);
                    }
                }
            }
        }
        Ok(())
    }

    /// By pidfd, so that it cannot reach a stranger once the command is reaped. A
    /// command that has ended or that changed its user cannot be signalled, as it
    /// could not be without us.
    fn send(&self, signal: c_int) {
        let no_info = ptr::null::<libc::siginfo_t>();
        // SAFETY: the pidfd is open, and without siginfo no memory is read.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                no_info,
                0,
            );
        }
    }
}

/// True when a signal that reached us has yet to reach the command.
fn is_for_command(
    signal: c_int,
    code: c_int,
    leads_session: bool,
    sender_inside: impl FnOnce() -> bool,
) -> bool {
    match signal {
        // A timer set before we were executed (`alarm 5; exec ...`): ours by
        // fork(2)'s rule, meant for the command.
        libc::SIGALRM if code > 0 => true,
        // When the terminal goes away the kernel tells the session's leader alone.
        libc::SIGHUP | libc::SIGCONT if code > 0 => leads_session,
        _ => code <= 0 && !sender_inside(),
    }
}

/// True when the sender is ourselves or lives in the command's cgroup. Both the signal and
/// the cgroup show as 0 what is outside our pid namespace, which names nobody.
fn is_inside(sender: u32, cgroup_procs: &Path) -> bool {
    sender == process::id()
        || sender != 0
            && fs::read_to_string(cgroup_procs)
                .is_ok_and(|procs| procs.lines().any(|line| line.parse() == Ok(sender)))
}

fn leads_session() -> bool {
    getsid(None::<Pid>) == Ok(getpid())
}

/// The signalfd's record holds as unsigned what is a small positive number.
fn number(signo: u32) -> c_int {
    c_int::try_from(signo).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: c_int = libc::SI_KERNEL;
    const USER: c_int = libc::SI_USER;

    #[test]
    fn a_process_means_the_command_and_the_terminal_means_the_group() {
        for signal in [
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGTSTP,
            libc::SIGWINCH,
            libc::SIGHUP,
        ] {
            assert!(is_for_command(signal, USER, false, || false));
            assert!(is_for_command(signal, libc::SI_QUEUE, false, || false));
            assert!(is_for_command(signal, libc::SI_TKILL, false, || false));
            assert!(!is_for_command(signal, KERNEL, false, || false));
            assert!(!is_for_command(signal, USER, false, || true));
        }
    }

    #[test]
    fn what_the_kernel_gives_to_us_alone_is_for_the_command() {
        assert!(is_for_command(libc::SIGALRM, KERNEL, false, || false));
        assert!(is_for_command(libc::SIGHUP, KERNEL, true, || false));
        assert!(!is_for_command(libc::SIGINT, KERNEL, true, || false));
    }

    #[test]
    fn a_sender_outside_our_namespace_is_not_inside_the_cgroup() {
        let procs = std::env::temp_dir().join(format!("socketvirt-procs-{}", process::id()));
        fs::write(&procs, "0\n4194304\n").unwrap();
        let inside = [0, 4_194_304, 4_194_303].map(|sender| is_inside(sender, &procs));
        fs::remove_file(&procs).unwrap();
        assert_eq!(inside, [false, true, false]);
    }
}
