//! Commands run plain or under `socketvirt exec`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    process::{Finished, Process},
    session,
    summary::Summary,
};

/// How a command runs.
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
    timeout: Duration,
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
            timeout: Duration::from_secs(75),
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

    /// The time after which the command counts as hanging.
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
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

/// The workload with these arguments; in eager mode it begins once it was
/// looked at, which costs connections of its own.
#[must_use]
pub fn begun(mode: Mode, args: &str) -> Vec<OsString> {
    let before = if mode == Mode::Eager { "--eager " } else { "" };
    workload(&format!("{before}{args}"))
}

/// Runs a command that must succeed, accelerated by [`adopted`]: in eager mode
/// without paces, where a program that connects before it was looked at, which
/// takes longer on a busy machine, keeps those connections plain.
#[track_caller]
pub fn redirected(mode: Mode, command: &[OsString]) -> Outcome {
    if mode == Mode::Adopt {
        return adopted(mode, command);
    }
    let command: Vec<_> = command.iter().map(|word| unpaced(word)).collect();
    if mode == Mode::Plain {
        return Run::new(mode, command).timeout(90).success();
    }
    adopted(mode, &command)
}

/// Runs a command that must succeed and whose connections only a scan can
/// enrol, again if nothing of it was redirected.
///
/// How soon a connection is adopted depends on the scans, and their pace on
/// what else the machine does. So one of three runs has to be accelerated, and
/// all of them have to be right.
#[track_caller]
pub fn adopted(mode: Mode, command: &[OsString]) -> Outcome {
    let attempt = || Run::new(mode, command.to_vec()).timeout(90).success();
    let mut outcome = attempt();
    for _ in 0..2 {
        if outcome.summary().fast_bytes() > 0 {
            break;
        }
        outcome = attempt();
    }
    outcome
}

/// Takes the paces out of a workload's phases (`pp:500@200`) and of scripts
/// (`--rate 500`): only adoption needs traffic that lasts.
fn unpaced(word: &OsStr) -> OsString {
    let without = |text: &str, mark: &str, pace: fn(char) -> bool| -> String {
        let mut parts = text.split(mark);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + part.trim_start_matches(pace))
    };
    let text = without(&word.to_string_lossy(), "@", |c| c.is_ascii_digit());
    without(&text, "--rate ", |c| !c.is_whitespace()).into()
}

/// A command at work.
#[derive(Debug)]
pub struct Running {
    /// The process that was started: `socketvirt`, or the command itself.
    pub process: Process,
    run: Run,
}

impl Running {
    /// Sends a signal to `socketvirt` (or to the plain command).
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    ///
    /// Processes that it has left behind run on until the drop.
    pub fn finish(&mut self) -> Outcome {
        let Self { process, run } = self;
        let finished = process.finish(run.timeout);
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

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// How it ran.
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

    /// Whether a summary was written.
    pub fn has_summary(&self) -> bool {
        self.summary.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_taken_out() {
        let text = |word: &str| unpaced(OsStr::new(word)).into_string().unwrap();
        assert_eq!(
            text("pp:500@200,stream:1M,rpp:10x5@7"),
            "pp:500,stream:1M,rpp:10x5"
        );
        assert_eq!(
            text("kv --rate 500 --value 5; curl --rate 150/s url"),
            "kv  --value 5; curl  url"
        );
    }
}
