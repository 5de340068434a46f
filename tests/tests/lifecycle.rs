//! From start to end: status, signals and terminal of the command, and what
//! is left when things end in another way than they should.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use nix::{
    sys::{signal::Signal, stat::Mode as Permissions},
    unistd::mkfifo,
};
use socketvirt_tests::{
    process::until,
    programs::{free_port, required},
    run::{Mode, Run, Running, shell, workload, workload_path},
    session::{Session, cgroup_root},
};
use tempfile::TempDir;
use test_support::leftovers::Trace;

#[test]
fn passes_the_exit_status_on() {
    let _session = Session::start();
    for code in [0, 1, 7, 126, 127, 255] {
        let outcome = Run::new(Mode::Adopt, shell(&format!("exit {code}"))).finish();
        assert_eq!(
            outcome.finished.status.code(),
            Some(code),
            "{}",
            outcome.finished.report()
        );
        assert!(outcome.has_summary(), "no summary after status {code}");
    }
}

/// A shell shows the signal as 128 and its number; so may we.
#[track_caller]
fn ended_by(status: ExitStatus, signal: Signal) {
    let number = signal as i32;
    assert!(
        status.signal() == Some(number) || status.code() == Some(128 + number),
        "{signal} was passed on as {status}"
    );
}

#[test]
fn passes_the_death_by_a_signal_on() {
    let _session = Session::start();
    for signal in [
        Signal::SIGKILL,
        Signal::SIGTERM,
        Signal::SIGSEGV,
        Signal::SIGINT,
    ] {
        let outcome = Run::new(Mode::Adopt, shell(&format!("kill -{} $$", signal as i32))).finish();
        ended_by(outcome.finished.status, signal);
        assert!(outcome.has_summary(), "no summary after {signal}");
    }
}

/// A script that says when it listens to signals.
fn listening(folder: &TempDir, trap: &str) -> Running {
    let ready = folder.path().join("ready");
    let script = format!(
        "{trap}; echo > {}; while :; do sleep 0.05; done",
        ready.display()
    );
    let running = Run::new(Mode::Adopt, shell(&script)).start();
    until("the command is ready", || ready.exists());
    running
}

#[test]
fn passes_signals_to_the_command() {
    let _session = Session::start();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
    ] {
        let folder = tempfile::tempdir().expect("a directory");
        let name = signal.as_str().trim_start_matches("SIG");
        let mut running = listening(&folder, &format!("trap 'exit 5' {name}"));
        running.signal(signal);
        let outcome = running.finish();
        assert_eq!(
            outcome.finished.status.code(),
            Some(5),
            "{signal}: {}",
            outcome.finished.report()
        );
    }
}

#[test]
fn ends_with_a_command_that_a_forwarded_signal_kills() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let mut running = listening(&folder, "true");
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    ended_by(outcome.finished.status, Signal::SIGTERM);
    assert!(
        outcome.has_summary(),
        "no summary: {}",
        outcome.finished.report()
    );
}

/// Standard input, output and error are the command's own.
#[test]
fn passes_input_and_output_on() {
    let _session = Session::start();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "0123456789abcdef\n".repeat(60_000);
    fs::write(file.path(), &text).expect("write the file");
    let run = Run::new(Mode::Adopt, shell("cat; echo to-stderr >&2")).stdin(file.path());
    let outcome = run.success();
    assert!(
        outcome.finished.stdout == text,
        "{} of {} bytes",
        outcome.finished.stdout.len(),
        text.len()
    );
    assert!(
        outcome.finished.stderr.contains("to-stderr\n"),
        "{}",
        outcome.finished.stderr
    );
}

/// A workload in the background of a shell that writes how it ended.
fn background(folder: &Path, mode: Mode, args: &str) -> String {
    let (status, log) = (folder.join("status"), folder.join("log"));
    let before = if mode == Mode::Eager { "--eager" } else { "" };
    format!(
        "( {} {before} streams {args} > {log} 2>&1; echo $? > {status} ) &",
        workload_path(),
        log = log.display(),
        status = status.display()
    )
}

/// The command ends when this pipe is written to. It waits without any program
/// that begins: in eager mode, one keeps handshakes off until it was inspected.
fn end_file(folder: &Path) -> PathBuf {
    folder.join("end")
}

/// A command that leaves a workload in the background when it ends.
fn leaving(folder: &Path, mode: Mode, args: &str) -> Vec<OsString> {
    let end = end_file(folder);
    mkfifo(&end, Permissions::S_IRWXU).expect("a pipe");
    shell(&format!(
        "{} read line < {} || exit 0",
        background(folder, mode, args),
        end.display()
    ))
}

/// Waits for the workload in the background, which must find nothing wrong.
#[track_caller]
fn exact(folder: &Path) {
    let status = folder.join("status");
    let read = || fs::read_to_string(&status).unwrap_or_default();
    until("the workload ends", || read().ends_with('\n'));
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(read().trim(), "0", "{log}");
}

#[track_caller]
fn at_work(folder: &Path) {
    let ended = folder.join("status").exists();
    assert!(!ended, "the workload has ended before it could be seen");
}

/// Requests and answers until the test has seen enough, then changing traffic
/// that lasts until it lets it end. It waits for no path, as agents end in the
/// midst of it.
const LASTING: &str = "pp:1@200!go,stream:500K,pp:50@200,up:1M,slowdown:200K,pp:1@200!end,\
                       stream:200K,pipe:50x16,pp:20@200";

/// The same for one thread, which cannot stream both ways.
const IN_TURN: &str = "pp:1@200!go,pp:50@200,pp:1@200!end,pp:20@200";

/// Eight or more connections have what they can have, and go on.
#[track_caller]
fn let_go(running: &mut Running, io: &str) {
    running.until(match io {
        "blocking" => |seen| seen.pairs >= 8,
        // In eager mode one was to see that connections are enrolled at all.
        _ => |seen| seen.adopted >= 8,
    });
    running.go();
}

/// The data path outlives its agent; whoever starts next clears it away.
#[test]
fn agent_killed_under_load() {
    let session = Session::start();
    for (mode, io, more, phases) in [
        (Mode::Eager, "edge", "--connections 16", LASTING),
        (Mode::Eager, "single", "--connections 9", IN_TURN),
        // New connections after the death as well.
        (
            Mode::Eager,
            "level",
            "--connections 9 --total 64",
            "pp:1@200!go,pp:1@200!end,pp:50@200,stream:50K",
        ),
        (Mode::Adopt, "level", "--connections 16", LASTING),
    ] {
        let folder = tempfile::tempdir().expect("a directory");
        let args = format!("--io {io} {more} --phases {phases}");
        let mut running = Run::new(mode, leaving(folder.path(), mode, &args)).start();
        let_go(&mut running, io);
        // In the midst of it: not awaited by any condition of the data path,
        // so that the moment varies.
        std::thread::sleep(Duration::from_millis(300));
        running.signal(Signal::SIGKILL);
        at_work(folder.path());
        running.end();
        exact(folder.path());
        drop(running);
        Run::new(mode, shell("true")).success();
        session.clean();
    }
}

/// The next start finds a killed agent's connections still open.
#[test]
fn cleared_while_the_orphans_still_talk() {
    let session = Session::start();
    for (mode, io, phases) in [
        (Mode::Adopt, "edge", LASTING),
        (Mode::Eager, "level", LASTING),
        (Mode::Eager, "single", IN_TURN),
    ] {
        let folder = tempfile::tempdir().expect("a directory");
        let args = format!("--io {io} --connections 9 --phases {phases}");
        let mut running = Run::new(mode, leaving(folder.path(), mode, &args)).start();
        let_go(&mut running, io);
        running.signal(Signal::SIGKILL);
        Run::new(mode, shell("true")).success();
        at_work(folder.path());
        running.end();
        exact(folder.path());
        drop(running);
        // Objects in use then can go now.
        Run::new(mode, shell("true")).success();
        session.clean();
    }
}

/// A process that the command leaves behind goes on as plain TCP.
#[test]
fn background_processes_go_on() {
    let session = Session::start();
    for (mode, io) in [
        (Mode::Adopt, "edge"),
        (Mode::Adopt, "blocking"),
        (Mode::Eager, "level"),
    ] {
        let folder = tempfile::tempdir().expect("a directory");
        let args = format!("--io {io} --connections 9 --phases {LASTING}");
        let mut running = Run::new(mode, leaving(folder.path(), mode, &args)).start();
        let_go(&mut running, io);
        // The command ends in the midst of it.
        fs::write(end_file(folder.path()), "").expect("the file to end");
        running.finish().success();
        at_work(folder.path());
        session.clean();
        running.end();
        exact(folder.path());
    }
}

/// Blocking sockets leave by these when they are shut down: the
/// program, by its link, and the cgroup that it is attached to. Both are there.
#[track_caller]
fn guarded(session: &Session) {
    let left = session.left();
    let find = |root: &Path| {
        let mut found = left.iter().filter_map(Trace::path);
        found.find(|path| path.starts_with(root))
    };
    let pins = find(Path::new("/sys/fs/bpf")).unwrap_or_else(|| panic!("no pins: {left:?}"));
    assert!(pins.join("link_sock_ops").exists(), "{left:?}");
    let cgroup = find(&cgroup_root()).unwrap_or_else(|| panic!("no cgroup: {left:?}"));
    let name = |path: &Path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.trim_start_matches("socketvirt-").to_owned()
    };
    assert_eq!(name(pins), name(cgroup));
}

/// Blocking readers asleep cannot be released; they keep what they need until
/// they close.
#[test]
fn blocking_background_processes_go_on() {
    let session = Session::start();
    let (mode, folder) = (Mode::Eager, tempfile::tempdir().expect("a directory"));
    let args = format!("--io single --connections 9 --phases {IN_TURN}");
    let mut running = Run::new(mode, leaving(folder.path(), mode, &args)).start();
    let_go(&mut running, "single");
    fs::write(end_file(folder.path()), "").expect("the file to end");
    running.finish().success();
    guarded(&session);
    // By another start, too.
    Run::new(mode, shell("true")).success();
    guarded(&session);
    at_work(folder.path());
    running.end();
    exact(folder.path());
    Run::new(mode, shell("true")).success();
    session.clean();
}

/// A server that stays answers its next clients.
#[test]
fn server_left_running_answers() {
    let _session = Session::start();
    let (port, redis) = (free_port(), required("redis-server"));
    let folder = tempfile::tempdir().expect("a directory");
    let pid_file = folder.path().join("redis.pid");
    let kv = format!(
        "{} kv --protocol redis --port {port} --operations 100 --rate 200 --until-fast",
        workload_path()
    );
    let script = format!(
        "{} --port {port} --save '' --daemonize yes --pidfile {} >/dev/null; \
         until redis-cli -p {port} ping >/dev/null 2>&1; do sleep 0.05; done; {kv}",
        redis.display(),
        pid_file.display()
    );
    for mode in Mode::ACCELERATED {
        let outcome = Run::new(mode, shell(&script)).finish();
        let again = Run::new(Mode::Plain, shell(&kv)).finish();
        let pid = fs::read_to_string(&pid_file).expect("redis's pid");
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a pid"));
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("end redis");
        until("redis has ended", || {
            nix::sys::signal::kill(pid, None).is_err()
        });
        outcome.success();
        again.success();
    }
}

/// Two at a time do not disturb each other.
#[test]
fn two_at_a_time() {
    let _session = Session::start();
    let args = format!("streams --io edge --connections 8 --phases {LASTING}");
    let first = Run::new(Mode::Adopt, workload(&args)).start();
    let second = Run::new(Mode::Eager, workload(&args)).start();
    let mut both = [second, first];
    for running in &mut both {
        running.until(|seen| seen.adopted >= 8);
    }
    for running in &both {
        running.go();
        running.end();
    }
    for running in &mut both {
        let outcome = running.finish();
        outcome.success();
        let summary = outcome.summary().accelerated();
        assert_eq!(summary.count("/pairs"), 8, "{summary}");
    }
}

/// A killed agent's leftovers do not hide those of the living.
#[test]
fn starting_beside_a_living_agent_leaves_it_alone() {
    let _session = Session::start();
    let args = format!("streams --io level --connections 8 --phases {LASTING}");
    let mut lasting = Run::new(Mode::Adopt, workload(&args)).start();
    let_go(&mut lasting, "level");
    for _ in 0..4 {
        let short = workload("streams --connections 4 --phases pp:200");
        Run::new(Mode::Eager, short).success();
    }
    lasting.end();
    let outcome = lasting.finish();
    outcome.success();
    outcome.summary().accelerated();
}
