//! Commands run plain or under `socketvirt exec`.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    live::{self, Counters},
    process::{Finished, Process},
    session,
    summary::Summary,
};

/// The variable that names the file whose appearance tells a workload that the
/// test has seen enough (`pp:4@200!go`).
pub const GO: &str = "SOCKETVIRT_TEST_GO";

/// The same for the last part of a workload (`pp:4@200!end`).
pub const END: &str = "SOCKETVIRT_TEST_END";

/// The variable that tells a workload that nothing is redirected, so that it
/// does not wait for that.
pub const PLAIN: &str = "SOCKETVIRT_TEST_PLAIN";

/// Ends what hangs, after the workload's own deadline, which says more.
const HANGS: Duration = Duration::from_mins(25);

/// The mode in which a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By itself: plain TCP.
    Plain,
    /// Under `socketvirt exec --mode adopt`.
    Adopt,
    /// Under `socketvirt exec --mode eager`.
    Eager,
}

impl Mode {
    /// Both ways of acceleration.
    pub const ACCELERATED: [Self; 2] = [Self::Adopt, Self::Eager];
    /// All three.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Adopt, Self::Eager];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Adopt => "adopt",
            Self::Eager => "eager",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The program under test: `SOCKETVIRT_BIN`, else the release build beside
/// the test.
pub fn binary() -> PathBuf {
    let path = env::var_os("SOCKETVIRT_BIN")
        .map_or_else(|| target_dir().join("release/socketvirt"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is not there: run `cargo xtask build`, or set SOCKETVIRT_BIN",
        path.display()
    );
    path
}

/// Runs the program to its end.
pub fn socketvirt(args: &[&str]) -> Output {
    Command::new(binary())
        .args(args)
        .output()
        .expect("run socketvirt")
}

/// The errors that it printed.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `target/<profile>/deps/test-1234` is the running test.
fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("the test's own path");
    test.ancestors()
        .nth(2)
        .expect("target/<profile>")
        .to_owned()
}

fn target_dir() -> PathBuf {
    profile_dir().parent().expect("target").to_owned()
}

/// The workload program with its arguments, separated by spaces.
pub fn workload(args: &str) -> Vec<OsString> {
    let mut command = vec![profile_dir().join("workload").into_os_string()];
    command.extend(args.split_whitespace().map(OsString::from));
    command
}

/// A shell script as a command.
pub fn shell(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

/// The workload's path, for scripts.
pub fn workload_path() -> String {
    profile_dir().join("workload").display().to_string()
}

/// A command to be run.
#[derive(Debug)]
#[must_use = "it only runs once it is started"]
pub struct Run {
    mode: Mode,
    command: Vec<OsString>,
    options: Vec<OsString>,
    until: Option<fn(&Counters) -> bool>,
    held: bool,
    folder: TempDir,
    stdin: Option<PathBuf>,
}

impl Run {
    /// A command in one of the modes.
    pub fn new(mode: Mode, command: Vec<OsString>) -> Self {
        Self {
            mode,
            command,
            options: Vec::new(),
            until: None,
            held: false,
            folder: tempfile::tempdir().expect("a directory for the summary"),
            stdin: None,
        }
    }

    /// More options of `exec`.
    pub fn option(mut self, words: &str) -> Self {
        self.options
            .extend(words.split_whitespace().map(OsString::from));
        self
    }

    /// Standard input from a file.
    pub fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_owned());
        self
    }

    /// Tells the command to go on, see [`GO`], once the counters of its agent
    /// are so; a plain one at once.
    pub fn until(mut self, seen: fn(&Counters) -> bool) -> Self {
        self.until = Some(seen);
        self
    }

    /// Lets a plain command wait for [`Running::go`], too.
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    fn go_file(&self) -> PathBuf {
        self.folder.path().join("go")
    }

    fn end_file(&self) -> PathBuf {
        self.folder.path().join("end")
    }

    fn summary_file(&self) -> PathBuf {
        self.folder.path().join("summary.json")
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let mut command = if self.mode == Mode::Plain {
            let mut command = Command::new(&self.command[0]);
            command.args(&self.command[1..]);
            command
        } else {
            let mut command = Command::new(binary());
            command
                .args(["exec", "--mode", self.mode.word(), "--summary"])
                .arg(self.summary_file());
            command.args(&self.options).arg("--").args(&self.command);
            command
        };
        command.stdin(self.stdin.as_ref().map_or_else(Stdio::null, |file| {
            fs::File::open(file).expect("the input file").into()
        }));
        command.env(GO, self.go_file()).env(END, self.end_file());
        if self.mode == Mode::Plain {
            command.env(PLAIN, "1");
            if !self.held {
                make(&self.go_file());
                make(&self.end_file());
            }
        }
        let process = Process::start(&mut command);
        if self.mode != Mode::Plain {
            session::started(process.pid());
        }
        Running { process, run: self }
    }

    /// Runs it to its end.
    pub fn finish(self) -> Outcome {
        self.start().finish()
    }

    /// Runs it to its end, which must be success.
    #[track_caller]
    pub fn success(self) -> Outcome {
        let outcome = self.finish();
        outcome.success();
        outcome
    }
}

/// Makes a file that tells by being there.
fn make(file: &Path) {
    fs::write(file, "").expect("a file that is waited for");
}

/// The workload with these arguments; in eager mode it begins once it was
/// looked at, which costs connections of its own.
#[must_use]
pub fn begun(mode: Mode, args: &str) -> Vec<OsString> {
    let before = if mode == Mode::Eager { "--eager " } else { "" };
    workload(&format!("{before}{args}"))
}

/// Workloads at the same time; each must succeed.
#[must_use]
pub fn together<S: AsRef<str>>(all: impl IntoIterator<Item = S>) -> Vec<OsString> {
    let mut script = String::from("all=\n");
    for args in all {
        let line = format!("{} {} & all=\"$all $!\"\n", workload_path(), args.as_ref());
        script.push_str(&line);
    }
    shell(&(script + "for one in $all; do wait $one || exit 1; done"))
}

/// Connections that [`beside_adopted`] has adopted.
pub const BESIDE: u64 = 2;

/// A workload beside which others are adopted in turn, although it is not: when
/// it is told to go on, see [`GO`], it has had its chance. The others are in
/// a cgroup of their own.
#[must_use]
pub fn beside_adopted(script: &str) -> Vec<OsString> {
    let other = format!("{} streams --phases fast,pp:10", workload_path());
    shell(&format!(
        "own={root}$(sed -n s/^0:://p /proc/self/cgroup)/others\n\
         mkdir $own || exit 1\n\
         ( {script} ) & it=$!\n\
         for n in $(seq {BESIDE}); do sh -c \"echo \\$\\$ > $own/cgroup.procs; exec {other}\" >&2 || status=1; done\n\
         rmdir $own; echo > ${GO}; wait $it || exit 1; exit $status",
        root = session::cgroup_root().display(),
    ))
}

/// A command at work.
#[derive(Debug)]
pub struct Running {
    /// The process that was started: `socketvirt`, or the command itself.
    pub process: Process,
    run: Run,
}

impl Running {
    /// Tells the command to go on, see [`GO`].
    pub fn go(&self) {
        make(&self.run.go_file());
    }

    /// Tells the command to end, see [`END`].
    pub fn end(&self) {
        make(&self.run.end_file());
    }

    /// Waits until the counters of its agent are so, or it has ended.
    pub fn until(&mut self, seen: fn(&Counters) -> bool) {
        live::until(&mut self.process, HANGS, seen);
    }

    /// Sends a signal to `socketvirt` (or to the plain command).
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    ///
    /// Processes that it has left behind run on until the drop.
    pub fn finish(&mut self) -> Outcome {
        let Self { process, run } = self;
        let start = Instant::now();
        if let Some(seen) = run.until
            && run.mode != Mode::Plain
            && live::until(process, HANGS, seen)
        {
            make(&run.go_file());
        }
        let finished = process.finish(HANGS.saturating_sub(start.elapsed()));
        let text = fs::read_to_string(run.summary_file())
            .ok()
            .filter(|t| !t.is_empty());
        Outcome {
            mode: run.mode,
            finished,
            summary: text.map(|t| Summary::parse(&t)),
        }
    }
}

/// The end of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The mode in which it ran.
    pub mode: Mode,
    /// Its status and output.
    pub finished: Finished,
    summary: Option<Summary>,
}

impl Outcome {
    /// Panics unless the status is 0.
    #[track_caller]
    pub fn success(&self) -> &Self {
        let summary = self
            .summary
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        assert!(
            self.finished.status.success(),
            "{}: {}\n{summary}",
            self.mode,
            self.finished.report()
        );
        self
    }

    /// The summary.
    #[track_caller]
    pub fn summary(&self) -> &Summary {
        self.summary
            .as_ref()
            .unwrap_or_else(|| panic!("no summary: {}", self.finished.report()))
    }

    /// Bytes that the workloads have sent past the stack, by their reports.
    #[track_caller]
    pub fn redirected(&self) -> u64 {
        self.reported("redirected")
    }

    /// The sum of a count in the workloads' reports.
    #[track_caller]
    pub fn reported(&self, what: &str) -> u64 {
        let report = |line| serde_json::from_str::<Value>(line).expect("a line of JSON");
        let lines = self.finished.stdout.lines().map(report);
        lines
            .map(|line| line[what].as_u64().expect("a count"))
            .sum()
    }

    /// Asserts that nothing of the workload was redirected, and why, whatever
    /// happened to those beside it.
    #[track_caller]
    pub fn left_alone(&self, reason: &str) -> &Self {
        let summary = self.summary();
        assert_eq!(self.redirected(), 0, "redirected: {summary}");
        assert!(
            summary.left(reason) > 0,
            "not for the reason {reason}: {summary}"
        );
        self
    }

    /// True when a summary was written.
    pub fn has_summary(&self) -> bool {
        self.summary.is_some()
    }
}
