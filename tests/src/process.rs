//! Child processes with a bounded life.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, killpg, sigaction},
    unistd::Pid,
};
use tempfile::TempDir;
use test_support::{command, wait};

/// Ends what hangs; no machine is that slow.
pub const PATIENCE: Duration = Duration::from_mins(20);

/// The time that a process may take to end that was told to.
const LAST: Duration = Duration::from_mins(1);

/// A process in a process group of its own, its output in files. Dropped while
/// it runs, it is killed together with its group.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    output: TempDir,
    name: String,
}

/// The end of a process, and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Its status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Takes back that whoever runs the tests may ignore signals: a shell does for
/// what it runs in the background, and nohup(1).
fn default_interrupts() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        // SAFETY: the default action runs no code of this program.
        unsafe { sigaction(signal, &default) }?;
    }
    Ok(())
}

impl Process {
    /// Starts a command; its standard input is empty unless it was set.
    pub fn start(command: &mut Command) -> Self {
        let output = tempfile::tempdir().expect("a directory for the output");
        let file =
            |name| fs::File::create(output.path().join(name)).expect("a file for the output");
        command.stdout(file("stdout")).stderr(file("stderr"));
        Self::start_as_it_is(command, output)
    }

    /// Starts a command whose output goes where the command says.
    pub fn printing_elsewhere(command: &mut Command) -> Self {
        let output = tempfile::tempdir().expect("a directory for the output");
        Self::start_as_it_is(command, output)
    }

    fn start_as_it_is(command: &mut Command, output: TempDir) -> Self {
        let name = format!("{command:?}");
        // SAFETY: between fork and exec only sigaction(2) is called.
        unsafe { command.pre_exec(default_interrupts) };
        let mut child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        let (tell, ended) = mpsc::channel();
        thread::spawn(move || {
            let _ = tell.send(child.wait().expect("wait for a child"));
        });
        Self {
            pid,
            ended,
            status: None,
            output,
            name,
        }
    }

    /// Its process id, which is its group's as well.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// Waits for the end, for a bounded time.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = match self.ended.recv_timeout(timeout) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(ExitStatus::from_raw(0xff00)),
            };
        }
        self.status
    }

    /// Returns its output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.output.path().join("stdout"))
    }

    /// Returns its standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.output.path().join("stderr"))
    }

    /// Waits for the end; a process that does not end is killed, and its
    /// state and that of all sockets is the panic's message.
    ///
    /// Processes that it has left in its group run on until the drop.
    pub fn finish(&mut self, timeout: Duration) -> Finished {
        if let Some(status) = self.wait(timeout) {
            return Finished {
                status,
                stdout: self.stdout(),
                stderr: self.stderr(),
            };
        }
        let sockets = socket_state();
        // An orderly end first, so that nothing is left behind.
        let _ = kill(self.pid, Signal::SIGTERM);
        self.wait(LAST);
        panic!(
            "{} did not end in {timeout:?}\n--- stdout\n{}\n--- stderr\n{}\n--- sockets\n{sockets}",
            self.name,
            tail(&self.stdout()),
            tail(&self.stderr()),
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group lives as long as one of its processes does.
        let _ = killpg(self.pid, Signal::SIGKILL);
        self.wait(LAST);
    }
}

/// A test that fails for any other reason shows what its commands have printed.
impl Drop for Finished {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.report());
        }
    }
}

impl Finished {
    /// Both outputs, for a message.
    pub fn report(&self) -> String {
        format!(
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }

    /// Panics unless the status is 0.
    #[track_caller]
    pub fn success(&self) -> &Self {
        assert!(self.status.success(), "{}", self.report());
        self
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The end of a text, where the news is.
fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(16_000);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// Every TCP socket of this namespace with its queues.
fn socket_state() -> String {
    output("ss", ["-tinmoe", "state", "connected"])
}

/// The output of a short command, whatever its status.
pub fn output<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> String {
    let out = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: run `cargo xtask setup`"));
    let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&out.stderr));
    text
}

/// Runs a short command that has to succeed and returns its output.
#[track_caller]
pub fn must<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> String {
    let out = command::capture(Command::new(program).args(args))
        .unwrap_or_else(|error| panic!("{error:#}"));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let held = wait::until(PATIENCE, || Ok(condition())).expect("no error");
    assert!(held, "{what}: not within {PATIENCE:?}");
}
