//! On a terminal, with a real shell's job control.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    time::Instant,
};

use nix::{
    fcntl::OFlag,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        signal::kill,
        termios::{LocalFlags, SetArg, tcgetattr, tcsetattr},
    },
    unistd::{setsid, tcgetpgrp},
};

use super::*;

/// A terminal and the leader of its session.
struct Session {
    scratch: Scratch,
    master: Option<File>,
    leader: process::Child,
    seen: String,
    _watch: Sender<()>,
}

impl Session {
    fn start(scratch: Scratch, command: &mut Command) -> Self {
        // Not openpty: a terminal that leaks into another test's command never ends.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let mut open = fs::OpenOptions::new();
        open.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let slave = open.open(ptsname_r(&master).unwrap()).unwrap();
        let mut modes = tcgetattr(&slave).unwrap();
        // Typed text must not be taken for an answer.
        modes.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&slave, SetArg::TCSANOW, &modes).unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let lead = || {
            setsid()?;
            // SAFETY: descriptor 0 is the terminal, the argument a number.
            nix::errno::Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
            // Whoever runs the tests may ignore signals, as a shell does for
            // its background jobs; a shell would not take that back.
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
                // SAFETY: the default action runs no handler.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: a few system calls.
        unsafe { command.pre_exec(lead) };
        let leader = command.spawn().unwrap();
        let watch = watch(leader.id());
        // `command` would keep the terminal open.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let master = OwnedFd::from(master).into();
        Self {
            scratch,
            master: Some(master),
            leader,
            seen: String::new(),
            _watch: watch,
        }
    }

    /// An interactive shell in which `$W` runs its arguments wrapped.
    fn shell() -> Self {
        let scratch = Scratch::new();
        let mut shell = Command::new("bash");
        shell
            .args(["--norc", "--noediting", "-i"])
            .env("W", scratch.script());
        shell.env("PS1", "prompt> ").env_remove("PROMPT_COMMAND");
        let mut session = Self::start(scratch, &mut shell);
        session.expect("prompt> ");
        session
    }

    fn send(&mut self, text: &str) {
        self.master
            .as_ref()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// Reads until `text` has been printed; returns what came before.
    fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let before = self.seen[..at].into();
                self.seen.drain(..at + text.len());
                return before;
            }
            let master = self.master.as_ref().unwrap();
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap();
            assert!(ready > 0, "no {text:?} in {:?}", self.seen);
            let mut buffer = [0; 1024];
            let count = (&mut &*master).read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "no {text:?} in {:?} until the end", self.seen);
            self.seen
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    /// One report, and no second one.
    fn once(&mut self, report: &str, round: u32, wrapper: Pid, fence: u32) {
        self.expect(&format!("{report}{round}."));
        kill(wrapper, Signal::SIGPWR).unwrap();
        let before = self.expect(&format!("PWR{fence}."));
        assert!(!before.contains(report), "{before}");
    }

    /// Waits until the shell has given the terminal to `group`: before, its keys would
    /// go to the shell.
    fn await_foreground(&self, group: Pid) {
        let end = Instant::now() + PATIENCE;
        while tcgetpgrp(self.master.as_ref().unwrap()) != Ok(group) {
            assert!(Instant::now() < end, "{group} never got the terminal");
            thread::yield_now();
        }
    }

    /// Waits for the reporter; returns the pids of the command and its wrapper.
    fn ready(&mut self) -> [Pid; 2] {
        self.expect("ready ");
        let pids = self.expect(".");
        let pids: Vec<_> = pids
            .split(' ')
            .map(|pid| Pid::from_raw(pid.parse().unwrap()))
            .collect();
        pids.try_into().unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The terminal goes away: its session gets SIGHUP.
        self.master = None;
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

#[test]
fn an_interrupt_key_reaches_the_command_once() {
    let mut session = Session::shell();
    session.send(&format!("$W {}\n", reporter_of("INT,QUIT").join(" ")));
    let [_, wrapper] = session.ready();
    for round in 1..=20 {
        session.send("\x03");
        session.once("INT", round, wrapper, 2 * round - 1);
        session.send("\x1c");
        session.once("QUIT", round, wrapper, 2 * round);
    }
    kill(wrapper, Signal::SIGUSR1).unwrap();
    session.send("echo code=$?.\n");
    session.expect("code=3.");
}

#[test]
fn a_script_ends_with_the_command_that_was_interrupted() {
    let scratch = Scratch::new();
    let mut script = Command::new("bash");
    // Not sh: a ^C just before it forks ends neither it nor what it runs.
    script.args([
        "-c",
        &format!("$W {}; echo after", reporter_of("").join(" ")),
    ]);
    script.env("W", scratch.script());
    let mut session = Session::start(scratch, &mut script);
    session.ready();
    // A shell can miss a ^C without us too, so it is pressed until it is heard.
    let status = loop {
        session.send("\x03");
        let pressed = Instant::now();
        let mut status = session.leader.try_wait().unwrap();
        while status.is_none() && pressed.elapsed() < Duration::from_secs(1) {
            thread::yield_now();
            status = session.leader.try_wait().unwrap();
        }
        if let Some(status) = status {
            break status;
        }
    };
    assert_eq!(status.signal(), Some(libc::SIGINT));
}

#[test]
fn stop_foreground_and_background_work_as_for_any_job() {
    let mut session = Session::shell();
    session.send(&format!("$W {}\n", reporter_of("CONT,INT").join(" ")));
    let [_, wrapper] = session.ready();
    session.send("\x1a");
    session.expect("Stopped");
    session.send("bg\n");
    session.once("CONT", 1, wrapper, 1);
    session.send("echo in$((1 + 1))\n");
    session.expect("in2");
    session.send("fg\n");
    session.await_foreground(wrapper);
    session.send("\x1a");
    session.expect("Stopped");
    session.send("fg\n");
    session.once("CONT", 2, wrapper, 2);
    session.await_foreground(wrapper);
    session.send("\x03");
    session.once("INT", 1, wrapper, 3);
    kill(wrapper, Signal::SIGUSR1).unwrap();
    session.send("echo code=$?.\n");
    session.expect("code=3.");
}

#[test]
fn a_command_that_ignores_the_stop_key_keeps_us_running() {
    let mut session = Session::shell();
    session.send("$W bash -c 'trap \"\" TSTP; echo rea\"\"dy; read x; echo \"got=$x.\"'\n");
    session.expect("ready");
    session.send("\x1a");
    session.send("hello\n");
    let before = session.expect("got=hello.");
    assert!(!before.contains("Stopped"), "{before}");
}

#[test]
fn a_shell_under_us_suspends_and_gets_its_terminal_back() {
    let mut session = Session::shell();
    session.send("WHO=outer\n$W env PS1='inner> ' bash --norc --noediting -i\n");
    session.expect("inner> ");
    session.send("WHO=inner; suspend\n");
    session.expect("Stopped");
    session.send("echo who=$WHO.\n");
    session.expect("who=outer.");
    session.send("fg\n");
    session.send("echo who=$WHO.\n");
    session.expect("who=inner.");
    session.send("exit 4\n");
    session.expect("prompt> ");
    session.send("echo code=$?.\n");
    session.expect("code=4.");
}

#[test]
fn the_end_of_the_terminal_reaches_the_command_of_a_session_leader() {
    let scratch = Scratch::new();
    let told = scratch.fifo("told");
    let script = "$SIG{HUP} = sub { open F, '>', $ARGV[0]; print F 'told'; exit }; $| = 1; \
                  print qq(ready\\n); select(undef, undef, undef, 0.02) while 1";
    let mut wrapper = Command::new(scratch.script());
    wrapper.args(["perl", "-e", script, told.to_str().unwrap()]);
    // Both ends are open here, so that reading waits no longer than we do.
    let mut fifo = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&told)
        .unwrap();
    let mut session = Session::start(scratch, &mut wrapper);
    session.expect("ready");
    session.master = None;
    let mut fds = [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap(),
        1
    );
    let mut text = [0; 4];
    fifo.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"told");
    assert!(session.leader.wait().unwrap().success());
    drop(session.scratch.path("told"));
}
