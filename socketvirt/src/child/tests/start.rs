//! The state that the command finds at its start, and the errors when there is no start.

use std::{io, os::unix::process::ExitStatusExt};

use nix::libc;

use super::*;

/// Runs `command` wrapped and plain, both prepared by `prepare`, and expects the same
/// output.
fn same<const N: usize>(
    command: [&str; N],
    prepare: impl Fn() -> io::Result<()> + Send + Sync + Copy + 'static,
) -> String {
    let scratch = Scratch::new();
    let mut plain = Command::new(command[0]);
    plain.args(&command[1..]).process_group(0);
    let mut wrapped = scratch.wrap(&command);
    for command in [&mut plain, &mut wrapped] {
        command.stdin(Stdio::null());
        // SAFETY: the callers make system calls only.
        unsafe { command.pre_exec(prepare) };
    }
    let (plain, status) = run(&mut plain);
    assert!(status.success());
    assert_eq!(run(&mut wrapped), (plain.clone(), status));
    plain
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap()
}

#[test]
fn signal_mask_and_ignored_signals_are_those_we_were_given() {
    let seen = same(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], || {
        // SAFETY: ignoring runs no handler; the set is initialised by sigemptyset.
        unsafe {
            for signal in [libc::SIGPIPE, libc::SIGCHLD, libc::SIGHUP, libc::SIGTSTP] {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGUSR2);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        }
        Ok(())
    });
    assert_eq!(mask(&seen, "SigBlk"), 0x800);
    assert_eq!(mask(&seen, "SigIgn") & 0x9_1001, 0x9_1001);
}

#[test]
fn signal_mask_and_ignored_signals_are_none_by_default() {
    let seen = same(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], || {
        // Whoever runs the tests may ignore signals, as nohup(1) does.
        for signal in [libc::SIGPIPE, libc::SIGCHLD, libc::SIGHUP, libc::SIGTSTP] {
            // SAFETY: the default action runs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    });
    assert_eq!(mask(&seen, "SigBlk"), 0);
    assert_eq!(mask(&seen, "SigIgn") & 0x9_1001, 0);
}

#[test]
fn descriptors_are_those_we_were_given() {
    // A glob would itself take the closed one.
    let script = "for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$n ] && echo $n; done; :";
    let list = ["sh", "-c", script];
    let seen = same(list, || {
        // SAFETY: plain numbers.
        unsafe {
            libc::close(0);
            libc::dup2(1, 7);
        }
        Ok(())
    });
    assert_eq!(seen, "1\n2\n7\n");
}

#[test]
fn group_and_session_are_ours() {
    let scratch = Scratch::new();
    let mut running =
        Running::start(&mut scratch.wrap(&["cut", "-d ", "-f5,6", "/proc/self/stat"]));
    let session = nix::unistd::getsid(None).unwrap();
    assert_eq!(running.line(), format!("{} {session}", running.pid()));
}

#[test]
fn the_command_starts_in_its_cgroup() {
    let (scratch, cgroup) = (Scratch::new(), Cgroup::new("start"));
    let mut command = scratch.wrap(&["cat", "/proc/self/cgroup"]);
    let (seen, _) = run(command.env(PROCS, cgroup.0.join("cgroup.procs")));
    let name = cgroup.0.file_name().unwrap().to_str().unwrap();
    assert!(
        seen.lines().any(|line| line == format!("0::/{name}")),
        "{seen}"
    );
}

#[test]
fn what_cannot_be_started_is_said_once_and_coded_as_env_does() {
    let scratch = Scratch::new();
    let plain_file = scratch.path("procs");
    for (command, code) in [
        ("socketvirt-no-such-command", 127),
        (plain_file.to_str().unwrap(), 126),
        ("/proc", 126),
    ] {
        let output = scratch.wrap(&[command]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(command), "{said}");
    }
}

#[test]
fn a_cgroup_that_refuses_is_not_taken_for_a_missing_command() {
    let scratch = Scratch::new();
    let mut command = scratch.wrap(&["echo", "ran"]);
    let output = command.env(PROCS, "/dev/full").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("/dev/full") && said.contains("No space"),
        "{said}"
    );
    assert!(!String::from_utf8(output.stdout).unwrap().contains("ran"));
}

#[test]
fn a_signal_before_the_start_ends_us_without_a_start() {
    let scratch = Scratch::new();
    let (seen, status) = run(scratch.wrap(&["echo", "ran"]).env(RAISE, "SIGTERM"));
    assert_eq!((seen.as_str(), status.signal()), ("", Some(libc::SIGTERM)));
    let (seen, status) = run(scratch.wrap(&["echo", "ran"]).env(RAISE, "SIGWINCH"));
    assert_eq!((seen.as_str(), status.code()), ("ran\n", Some(0)));
}
