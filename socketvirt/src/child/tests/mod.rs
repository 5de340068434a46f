//! Real commands under a real wrapper process. The wrapper is this test program,
//! executed again for its test `wrapper` alone, so that the signal mask,
//! the descriptors and the end are those of a whole process.
//!
//! The test library keeps its main thread and runs a test in another, even with one
//! test thread. `hold_signals` keeps the main thread from taking any signal.

mod behaviour;
mod start;
mod terminal;

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader, Read, Seek, Write},
    os::fd::AsFd,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::OpenOptionsExt,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{self, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, raise},
    unistd::{Pid, getpgrp, getppid, mkfifo},
};

use super::{Child, Event, Signals};

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
const SEPARATOR: u8 = 0x1f;
const ARGS: &str = "CHILD_TEST_ARGS";
const PROCS: &str = "CHILD_TEST_PROCS";
const RAISE: &str = "CHILD_TEST_RAISE";
const TICKS: &str = "CHILD_TEST_TICKS";
const REPORT: &str = "CHILD_TEST_REPORT";

/// The mask that the wrapper process was started with.
static MASK: OnceLock<SigSet> = OnceLock::new();

#[used]
// SAFETY: the section takes pointers to C functions; `hold_signals` needs the
// environment and the signal mask only, which are there before `main`.
#[unsafe(link_section = ".init_array")]
static HOLD_SIGNALS: extern "C" fn() = hold_signals;

extern "C" fn hold_signals() {
    let held = if env::var_os(ARGS).is_some() {
        SigSet::all()
    } else {
        reported()
    };
    if let Ok(mask) = held.thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        MASK.get_or_init(|| mask);
    }
}

/// The signals that a reporter is to report, USR1, which ends it, and PWR.
///
/// PWR is the fence: it has a higher number than the others, so neither the wrapper's
/// signalfd nor the reporter takes it before one of them that is there too. What is
/// reported once, and then the fence, did not arrive twice.
fn reported() -> SigSet {
    let names = env::var(REPORT).unwrap_or_default();
    let mut set: SigSet = names
        .split(',')
        .filter_map(|name| format!("SIG{name}").parse::<Signal>().ok())
        .collect();
    if env::var_os(REPORT).is_some() {
        set.add(Signal::SIGUSR1);
        set.add(Signal::SIGPWR);
    }
    set
}

/// The command line of a reporter of these signals, as in "INT,QUIT".
fn reporter_of(names: &str) -> Vec<String> {
    let mut words = vec!["env".into(), format!("{REPORT}={names}")];
    words.extend(this_program("reporter"));
    words
}

#[test]
#[ignore = "a command for the other tests, not a test"]
fn reporter() {
    let names = env::var(REPORT).unwrap_or_default();
    if env::var_os(REPORT).is_none() {
        return;
    }
    let mut counts = BTreeMap::<_, u32>::new();
    println!("ready {} {}.", process::id(), getppid());
    loop {
        // Taken from the queue at once: two of the same signal count as two, unlike
        // in a shell or in Perl.
        let signal = reported().wait().unwrap();
        if signal == Signal::SIGUSR1 {
            process::exit(3);
        }
        if signal == Signal::SIGWINCH && names.contains("USR2") {
            killpg(getpgrp(), Signal::SIGUSR2).unwrap();
            continue;
        }
        let count = counts.entry(signal).or_default();
        *count += 1;
        println!("{}{count}.", signal.as_str().trim_start_matches("SIG"));
    }
}

#[test]
#[ignore = "the wrapper process of the other tests, not a test"]
fn wrapper() {
    let Some(args) = env::var_os(ARGS) else {
        return;
    };
    let mut args = args
        .as_bytes()
        .split(|byte| *byte == SEPARATOR)
        .map(OsStr::from_bytes);
    MASK.get().unwrap().thread_set_mask().unwrap();
    let signals = Signals::block().unwrap();
    // Not for a wrapper below this one.
    // SAFETY: the other thread only waits for this one to end.
    unsafe { env::remove_var(ARGS) };
    if let Some(signal) = env::var_os(RAISE) {
        raise(signal.to_str().unwrap().parse::<Signal>().unwrap()).unwrap();
    }
    let procs = PathBuf::from(env::var_os(PROCS).unwrap());
    let mut child = match Child::spawn(signals, args.next().unwrap(), args, &procs) {
        Ok(child) => child,
        Err(error) => {
            eprintln!("error: {error}");
            error.status().finish()
        }
    };
    let ticks = env::var_os(TICKS);
    let mut passed = 0;
    loop {
        match child
            .wait_event(ticks.as_ref().map(|_| Duration::from_millis(1)))
            .unwrap()
        {
            Event::Exited(status) => status.finish(),
            Event::Timeout | Event::Other => passed += 1,
        }
        if passed == 3 {
            let fifo = ticks.as_ref().unwrap();
            // Waits for the reader: what is written before it comes goes with us.
            fs::OpenOptions::new()
                .write(true)
                .open(fifo)
                .unwrap()
                .write_all(b"\n")
                .unwrap();
        }
    }
}

/// A folder of its own for each test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("socketvirt-child-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        // A plain file takes the "0" as well as a cgroup does.
        fs::write(path.join("procs"), "").unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    /// A wrapper around the command, in a process group of its own.
    fn wrap<S: AsRef<str>>(&self, command: &[S]) -> Command {
        let words: Vec<_> = command
            .iter()
            .map(|word| word.as_ref().as_bytes())
            .collect();
        let joined = OsString::from_vec(words.join(&SEPARATOR));
        let mut wrapper = wrapper_command();
        wrapper
            .env(ARGS, joined)
            .env(PROCS, self.path("procs"))
            .process_group(0)
            .stdin(Stdio::null());
        wrapper
    }

    /// A program for shells: runs its arguments under a wrapper, as one process.
    fn script(&self) -> PathBuf {
        let text = format!(
            "#!/bin/sh\nIFS=$(printf '\\037')\nexport {ARGS}=\"$*\" {PROCS}='{}'\nunset IFS\nexec {}\n",
            self.path("procs").display(),
            this_program("wrapper").join(" "),
        );
        let path = self.path("wrap");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The command line of this program's test `name`, to be executed for itself.
fn this_program(name: &str) -> Vec<String> {
    let (_, module) = module_path!().split_once("::").unwrap();
    let program = env::current_exe().unwrap().to_str().unwrap().into();
    let test = format!("{module}::{name}");
    let options = ["--quiet", "--ignored", "--exact", "--nocapture"].map(String::from);
    [program].into_iter().chain(options).chain([test]).collect()
}

fn wrapper_command() -> Command {
    let words = this_program("wrapper");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Kills the process group when our patience ends before the returned sender does.
fn watch(group: u32) -> Sender<()> {
    let group = Pid::from_raw(group.try_into().unwrap());
    let (watch, ended) = mpsc::channel();
    thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    });
    watch
}

/// A process group that is killed when it outlives our patience or a failed test.
struct Running {
    process: process::Child,
    output: BufReader<ChildStdout>,
    ended: bool,
    _watch: Sender<()>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let watch = watch(process.id());
        Self {
            process,
            output,
            ended: false,
            _watch: watch,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
    }

    /// The next line that is the command's and not the test library's.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            let count = self.output.read_line(&mut line).unwrap();
            if !line.trim().is_empty() && line != "running 1 test\n" || count == 0 {
                return line.trim_end().into();
            }
        }
    }

    /// Waits for the reporter; returns the command's pid.
    fn ready(&mut self) -> Pid {
        let line = self.line();
        let words: Vec<_> = line.trim_end_matches('.').split(' ').collect();
        assert_eq!(words.first(), Some(&"ready"), "{line}");
        assert_eq!(words[2], self.process.id().to_string());
        Pid::from_raw(words[1].parse().unwrap())
    }

    /// One report, and no second one.
    fn once(&mut self, report: &str, round: u32) {
        assert_eq!(self.line(), format!("{report}{round}."));
        kill(self.pid(), Signal::SIGPWR).unwrap();
        assert_eq!(self.line(), format!("PWR{round}."));
    }

    fn end(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        self.ended = true;
        (rest.replace("\nrunning 1 test\n", ""), status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After its end nobody holds the output, so nobody is left in the group.
        if !self.ended {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.process.wait();
        }
    }
}

/// Runs it to its end.
fn run(command: &mut Command) -> (String, ExitStatus) {
    Running::start(command).end()
}

/// A cgroup of its own, gone afterwards.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts
            .lines()
            .find(|line| line.contains(" cgroup2 "))
            .expect("cgroup v2");
        let root = Path::new(root.split(' ').nth(1).unwrap());
        let path = root.join(format!("socketvirt-child-{name}-{}", process::id()));
        fs::create_dir(&path).expect("root");
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Killed is not yet gone: the kernel flags a change of this file as urgent.
        let events = fs::File::open(self.0.join("cgroup.events")).unwrap();
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        while std::io::read_to_string(&events)
            .unwrap()
            .contains("populated 1")
        {
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap();
            (&events).rewind().unwrap();
        }
        fs::remove_dir(&self.0).unwrap();
    }
}
