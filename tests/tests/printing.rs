//! Prints that cannot be made: whatever happens to the terminal, the disk or
//! the taking away, the command's status is kept and the summary written.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use socketvirt_tests::{
    cgroup::Apart,
    process::{Process, until},
    run::{Mode, Run, binary, shell},
    session::{self, Session},
    table::keep::PATIENCE,
};

/// A standard error that takes nothing, and what keeps it so.
fn deaf() -> Vec<(&'static str, Stdio, Option<io::PipeReader>)> {
    let (gone, writer) = io::pipe().expect("a pipe");
    drop(gone);
    let (idle, full) = io::pipe().expect("a pipe");
    let size = nix::fcntl::fcntl(&full, nix::fcntl::FcntlArg::F_GETPIPE_SZ).expect("its size");
    (&full)
        .write_all(&vec![b'.'; usize::try_from(size).expect("a size")])
        .expect("fill it");
    let disk = File::options().write(true).open("/dev/full");
    vec![
        ("nobody reads", writer.into(), None),
        ("the pipe is full", full.into(), Some(idle)),
        ("the disk is full", disk.expect("/dev/full").into(), None),
    ]
}

/// Runs `exec` with a summary and this standard error.
fn exec(script: &str, summary: &Path, stderr: Stdio) -> ExitStatus {
    let mut command = Command::new(binary());
    command
        .args(["exec", "--summary"])
        .arg(summary)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    let mut process = Process::printing_elsewhere(&mut command);
    session::started(process.pid());
    process.wait(PATIENCE).expect("exec does not end")
}

#[track_caller]
fn whole(summary: &Path, when: &str) {
    let text = fs::read_to_string(summary).expect("a summary");
    let json: Result<serde_json::Value, _> = serde_json::from_str(&text);
    assert!(json.is_ok(), "{when}: {text:?}");
}

#[test]
fn a_deaf_terminal_keeps_status_and_summary() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let summary = folder.path().join("summary.json");
    for (when, stderr, _idle) in deaf() {
        let status = exec("exit 7", &summary, stderr);
        assert_eq!(status.code(), Some(7), "{when}");
        whole(&summary, when);
    }
    for (when, stderr, _idle) in deaf() {
        let status = exec("kill -TERM $$", &summary, stderr);
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{when}");
        whole(&summary, when);
    }
    // A command that cannot be started is told of there, too.
    for (when, stderr, _idle) in deaf() {
        let mut command = Command::new(binary());
        command.args(["exec", "--summary"]).arg(&summary);
        command.args(["--", "/no/such/program"]).stderr(stderr);
        let mut process = Process::printing_elsewhere(&mut command);
        session::started(process.pid());
        let status = process.wait(PATIENCE).expect("exec does not end");
        assert_eq!(status.code(), Some(127), "{when}");
        whole(&summary, when);
    }
}

/// The room is taken before the command can.
#[test]
fn a_full_disk_keeps_the_summary() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().display().to_string();
    let script = format!(
        "mount -t tmpfs -o size=64k none {path} && \
         {{ \"$0\" exec --quiet --summary {path}/summary.json -- \
            sh -c 'head -c 1M /dev/zero > {path}/fill; exit 7'; echo $? >&2; \
            cat {path}/summary.json; }}",
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(binary());
    let finished = Process::start(&mut command).finish(PATIENCE);
    let json: Result<serde_json::Value, _> = serde_json::from_str(&finished.stdout);
    assert!(json.is_ok(), "{}", finished.report());
    assert!(finished.stderr.ends_with("\n7\n"), "{}", finished.report());
}

/// A process that the command hides in a cgroup below keeps the cgroup there.
#[test]
fn a_cgroup_that_stays_keeps_status_and_summary() {
    let session = Session::start();
    let _apart = Apart::new();
    let folder = tempfile::tempdir().expect("a directory");
    let note = folder.path().join("pid");
    let script = format!(
        "own=$(sed -n s/^0:://p /proc/self/cgroup); \
         below=$(awk '$3 == \"cgroup2\" {{ print $2; exit }}' /proc/mounts)$own/below; \
         mkdir $below; sleep 60 & echo $! > $below/cgroup.procs; echo $! > {}; exit 7",
        note.display()
    );
    let outcome = Run::new(Mode::Adopt, shell(&script)).finish();
    let report = outcome.finished.report();
    let pid = fs::read_to_string(&note).expect("a pid");
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("end it");
    assert_eq!(outcome.finished.status.code(), Some(7), "{report}");
    assert!(outcome.has_summary(), "{report}");
    assert!(outcome.finished.stderr.contains("cgroup"), "{report}");
    // The next start clears it once it is empty.
    until("what stayed is cleared", || {
        Run::new(Mode::Adopt, shell("true")).success();
        // Programs of that start go after a grace period.
        !session.left().iter().any(|left| left.path().is_some())
    });
}

#[test]
fn a_deaf_terminal_does_not_end_an_agent() {
    let _session = Session::start();
    let _apart = Apart::new();
    for (when, stderr, _idle) in deaf() {
        let mut command = Command::new(binary());
        command.args(["run", "--mode", "adopt"]).stderr(stderr);
        let mut agent = Process::printing_elsewhere(&mut command);
        session::started(agent.pid());
        let pins = PathBuf::from("/sys/fs/bpf/socketvirt");
        let at_work = || {
            // It gets that name when it is complete.
            pins.join("host").exists()
        };
        until("it accelerates", at_work);
        agent.signal(Signal::SIGTERM);
        let status = agent.wait(PATIENCE).expect("the agent does not end");
        assert_eq!(status.code(), Some(0), "{when}");
    }
}

/// As in `table --watch --json | head -1`, and where nothing happens that
/// could be printed.
#[test]
fn what_is_printed_again_and_again_ends_with_its_reader() {
    let _session = Session::start();
    for args in [
        &["table", "--watch", "--json"][..],
        &["table", "--watch"],
        &["events", "--follow", "--json"],
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut command = Command::new(binary());
        command.args(args).stdin(Stdio::null()).stdout(writer);
        let mut process = Process::printing_elsewhere(&mut command);
        session::started(process.pid());
        // The pipe is this process's alone to read.
        drop(command);
        let mut reader = io::BufReader::new(reader);
        if args[0] == "table" {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            assert!(!line.is_empty());
        }
        assert_eq!(process.wait(Duration::ZERO), None, "{args:?}");
        drop(reader);
        let status = process.wait(PATIENCE).expect("it goes on without a reader");
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
}

/// Output that cannot be printed is an error, and no panic.
#[test]
fn a_full_disk_is_told() {
    let _session = Session::start();
    for args in [
        &["table"][..],
        &["table", "--json"],
        &["table", "--watch"],
        &["table", "--watch", "--json"],
        &["doctor", "--json"],
    ] {
        let full = File::options().write(true).open("/dev/full");
        let mut command = Command::new(binary());
        let (reader, writer) = io::pipe().expect("a pipe");
        command.args(args).stdout(full.expect("/dev/full"));
        command.stderr(writer);
        let mut process = Process::printing_elsewhere(&mut command);
        session::started(process.pid());
        drop(command);
        let status = process.wait(PATIENCE).expect("it does not end");
        let told = io::read_to_string(reader).expect("text");
        assert_eq!(status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains("No space left"), "{args:?}: {told}");
    }
}
