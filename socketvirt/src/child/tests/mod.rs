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
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader, Read, Write},
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
    sys::signal::{SigSet, SigmaskHow, Signal, killpg, raise},
    unistd::{Pid, mkfifo},
};

use super::{Child, Event, Signals};

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
const SEPARATOR: u8 = 0x1f;
const ARGS: &str = "CHILD_TEST_ARGS";
const PROCS: &str = "CHILD_TEST_PROCS";
const RAISE: &str = "CHILD_TEST_RAISE";
const TICKS: &str = "CHILD_TEST_TICKS";

/// Prints what it gets. USR1 ends it. Perl is in every Debian; a shell would
/// run its traps only after the command it waits for. Its handlers must run at once
/// (`PERL_SIGNALS=unsafe`), or two of the same signal would count as one.
const REPORTER: &str = r#"
    $| = 1;
    for my $name (@ARGV) { $SIG{$name} = sub { $n{$name}++; print "$name$n{$name}.\n" } }
    $SIG{USR1} = sub { print join(",", "total", map { "$_=" . ($n{$_} || 0) } @ARGV), ".\n"; exit 3 };
    print "ready $$ ", getppid, ".\n";
    sleep 1000 while 1;
"#;

/// What the wrapper process was started with.
static MASK: OnceLock<SigSet> = OnceLock::new();

#[used]
// SAFETY: the section takes pointers to C functions; `hold_signals` needs the
// environment and the signal mask only, which are there before `main`.
#[unsafe(link_section = ".init_array")]
static HOLD_SIGNALS: extern "C" fn() = hold_signals;

extern "C" fn hold_signals() {
    if env::var_os(ARGS).is_some()
        && let Ok(mask) = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)
    {
        MASK.get_or_init(|| mask);
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
            Event::Timeout => passed += 1,
        }
        if passed == 3 {
            let fifo = ticks.as_ref().unwrap();
            fs::OpenOptions::new()
                .read(true)
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
    fn wrap<const N: usize>(&self, command: [&str; N]) -> Command {
        let mut wrapper = wrapper_command();
        wrapper
            .env(
                ARGS,
                OsString::from_vec(command.map(str::as_bytes).join(&SEPARATOR)),
            )
            .env(PROCS, self.path("procs"))
            .env("PERL_SIGNALS", "unsafe")
            .process_group(0)
            .stdin(Stdio::null());
        wrapper
    }

    /// A program for shells: runs its arguments under a wrapper, as one process.
    fn script(&self) -> PathBuf {
        let command = wrapper_command();
        let mut words = vec![command.get_program()];
        words.extend(command.get_args());
        let words: Vec<_> = words
            .into_iter()
            .map(|word| word.to_str().unwrap())
            .collect();
        let text = format!(
            "#!/bin/sh\nIFS=$(printf '\\037')\nexport PERL_SIGNALS=unsafe {ARGS}=\"$*\" {PROCS}='{}'\nunset IFS\nexec {}\n",
            self.path("procs").display(),
            words.join(" "),
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

fn wrapper_command() -> Command {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--quiet", "--ignored", "--exact", "--nocapture"]);
    command.arg(format!("{module}::wrapper"));
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

    fn end(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        (rest.replace("\nrunning 1 test\n", ""), status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
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
        fs::remove_dir(&self.0).unwrap();
    }
}
