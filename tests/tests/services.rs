//! `exec` as what service managers and container engines start: process 1 of
//! a pid namespace, and the owner of sockets that were handed over.

use std::{
    fs,
    net::TcpListener,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socketvirt_tests::{
    process::{Finished, Process, until},
    run::binary,
    session::{self, Session},
    table::keep::PATIENCE,
};

/// `exec` as process 1 of a namespace of its own.
fn as_init(script: &str) -> Process {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(binary())
        .args(["exec", "--", "sh", "-c", script])
        .stdin(Stdio::null());
    Process::start(&mut command)
}

#[track_caller]
fn ends_with(process: &mut Process, code: i32) -> Finished {
    let finished = process.finish(PATIENCE);
    assert_eq!(finished.status.code(), Some(code), "{}", finished.report());
    finished
}

/// Every one of twenty orphans has ended and is gone, while the command lives.
#[test]
fn process_1_reaps_orphans() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let script = format!(
        "cd {}; \
         for n in $(seq 20); do sh -c '(sleep 0.2; echo >> ended; kill -KILL $$) &'; done; \
         until [ \"$(cat ended 2>/dev/null | wc -l)\" = 20 ]; do sleep 0.02; done; \
         for n in $(seq 300); do \
            grep -q '^State:.Z' /proc/[0-9]*/status || exit 7; sleep 0.02; \
         done; exit 9",
        folder.path().display()
    );
    ends_with(&mut as_init(&script), 7);
}

#[test]
fn orphans_that_a_real_time_signal_ends_are_reaped() {
    let _session = Session::start();
    let script = "sh -c 'sleep 60 & echo $! > /proc/$$/fd/1' > /dev/shm/svt-orphan; \
         read pid < /dev/shm/svt-orphan; rm /dev/shm/svt-orphan; kill -40 $pid; \
         for n in $(seq 300); do [ -e /proc/$pid ] || exit 7; sleep 0.02; done; exit 9";
    ends_with(&mut as_init(script), 7);
}

/// Whoever sends it: a process of the command, or one outside.
#[test]
fn process_1_passes_signals_on() {
    let _session = Session::start();
    let wait = "while :; do sleep 0.05; done";
    ends_with(
        &mut as_init(&format!("trap 'exit 5' TERM; kill -TERM 1; {wait}")),
        5,
    );
    let folder = tempfile::tempdir().expect("a directory");
    let ready = folder.path().join("ready");
    let mut process = as_init(&format!(
        "trap 'exit 6' TERM; echo > {}; {wait}",
        ready.display()
    ));
    until("the command is ready", || ready.exists());
    let parent = process.pid();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let child = children.expect("a child").trim().parse().expect("a pid");
    kill(Pid::from_raw(child), Signal::SIGTERM).expect("a signal");
    ends_with(&mut process, 6);
}

/// Process 1 does not send back what the command sends to its group.
#[test]
fn a_signal_to_the_commands_group_is_got_once() {
    let _session = Session::start();
    let script = "n=0; trap 'n=$((n+1))' USR1; trap 'exit $n' USR2; kill -USR1 0; kill -USR2 1; \
         while :; do sleep 0.05; done";
    ends_with(&mut as_init(script), 1);
}

/// A listener on descriptor 3, as systemd hands it over.
fn activated(listener: &TcpListener, script: &str, variables: &str) -> Finished {
    let fd = listener.as_raw_fd();
    let line = format!("{variables} exec \"$0\" exec -- sh -c \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(binary()).arg(script);
    command.stdin(Stdio::null());
    let hand_over = move || {
        // SAFETY: plain numbers; the copy stays open in the new program.
        let copied = unsafe { libc::dup2(fd, 3) };
        nix::errno::Errno::result(copied)?;
        Ok(())
    };
    // SAFETY: between fork and exec only dup2(2) is called.
    unsafe { command.pre_exec(hand_over) };
    let mut process = Process::start(&mut command);
    session::started(process.pid());
    process.finish(PATIENCE)
}

#[test]
fn sockets_that_are_handed_over_are_the_commands() {
    let _session = Session::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let finished = activated(
        &listener,
        "echo $$ $LISTEN_PID $LISTEN_FDS $WATCHDOG_PID $SYSTEMD_EXEC_PID [$LISTEN_PIDFDID]; \
         readlink /proc/self/fd/3",
        "export LISTEN_FDS=1 LISTEN_PID=$$ WATCHDOG_PID=$$ SYSTEMD_EXEC_PID=$$ LISTEN_PIDFDID=1;",
    );
    finished.success();
    let mut lines = finished.stdout.lines();
    let words: Vec<_> = lines.next().expect("a line").split(' ').collect();
    let own = words[0];
    assert_eq!(words, [own, own, "1", own, own, "[]"], "{words:?}");
    let socket = lines.next().expect("a line");
    assert!(socket.starts_with("socket:"), "{socket}");
    let told = "inherited TCP listeners: 1";
    assert!(finished.stderr.contains(told), "{}", finished.report());
}

/// A variable meant for another process stays so.
#[test]
fn variables_for_others_stay() {
    let _session = Session::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let finished = activated(
        &listener,
        "echo $LISTEN_PID $LISTEN_PIDFDID",
        "export LISTEN_PID=1 LISTEN_PIDFDID=2;",
    );
    assert_eq!(finished.stdout, "1 2\n", "{}", finished.report());
}

/// Messages go straight to the service manager, descriptors with them; who
/// sent them is the command, so the unit has to allow that.
#[test]
fn the_command_talks_to_the_service_manager() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).expect("bind");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let finished = activated(
        &listener,
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_DGRAM, 0); \
         send(S, \"READY=1\", 0, sockaddr_un($ENV{NOTIFY_SOCKET}))'",
        &format!("export NOTIFY_SOCKET={};", path.display()),
    );
    finished.success();
    let mut message = [0; 64];
    let length = manager.recv(&mut message).expect("a message");
    assert_eq!(&message[..length], b"READY=1");
    let told = finished.stderr.contains("NotifyAccess=all");
    assert!(told, "{}", finished.report());
}
