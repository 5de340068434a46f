//! Signals sent by processes, ends, stops without a terminal.

use std::os::unix::process::ExitStatusExt;

use nix::{
    libc,
    sys::{
        resource::{RLIM_INFINITY, Resource, setrlimit},
        signal::kill,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
};

use super::*;

fn stat_field(pid: &str, number: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(number - 3).unwrap().into()
}

#[test]
fn the_end_is_the_commands_end() {
    let scratch = Scratch::new();
    let (_, status) = run(&mut scratch.wrap(&["sh", "-c", "exit 7"]));
    assert_eq!(status.code(), Some(7));
    for signal in [
        libc::SIGKILL,
        libc::SIGTERM,
        libc::SIGSEGV,
        libc::SIGPIPE,
        40,
    ] {
        let mut command = scratch.wrap(&["sh", "-c", &format!("kill -{signal} $$")]);
        let cores = || {
            Ok(setrlimit(
                Resource::RLIMIT_CORE,
                RLIM_INFINITY,
                RLIM_INFINITY,
            )?)
        };
        // SAFETY: one system call.
        unsafe { command.pre_exec(cores) };
        let (_, status) = run(command.current_dir(&scratch.0));
        assert_eq!(status.signal(), Some(signal));
        assert!(!status.core_dumped());
    }
}

#[test]
fn a_signal_sent_to_us_reaches_the_command_once() {
    let scratch = Scratch::new();
    let names = [
        "HUP", "INT", "QUIT", "TERM", "USR2", "ALRM", "WINCH", "TSTP", "PROF",
    ];
    for name in names {
        let mut running = Running::start(&mut scratch.wrap(&reporter_of(name)));
        running.ready();
        for round in 1..=20 {
            kill(
                running.pid(),
                format!("SIG{name}").parse::<Signal>().unwrap(),
            )
            .unwrap();
            running.once(name, round);
        }
        kill(running.pid(), Signal::SIGUSR1).unwrap();
        assert_eq!(running.end().1.code(), Some(3));
    }
}

#[test]
fn a_real_time_signal_reaches_the_command() {
    let scratch = Scratch::new();
    let mut running = Running::start(&mut scratch.wrap(&reporter_of("")));
    running.ready();
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::kill(running.pid().as_raw(), 40) }, 0);
    assert_eq!(running.end().1.signal(), Some(40));
}

#[test]
fn a_timer_set_before_us_is_the_commands() {
    let scratch = Scratch::new();
    let mut command = scratch.wrap(&reporter_of("ALRM"));
    let timer = || {
        let period = libc::timeval {
            tv_sec: 0,
            tv_usec: 300_000,
        };
        let timer = libc::itimerval {
            it_value: period,
            it_interval: period,
        };
        // SAFETY: the timer is read only.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: one system call.
    unsafe { command.pre_exec(timer) };
    let mut running = Running::start(&mut command);
    running.ready();
    assert_eq!(running.line(), "ALRM1.");
}

#[test]
fn a_signal_from_the_commands_cgroup_to_its_group_is_not_sent_back() {
    let (scratch, cgroup) = (Scratch::new(), Cgroup::new("inside"));
    // On WINCH it sends USR2 to its group.
    let mut command = scratch.wrap(&reporter_of("USR2,WINCH"));
    command.env(PROCS, cgroup.0.join("cgroup.procs"));
    let mut running = Running::start(&mut command);
    running.ready();
    for round in 1..=20 {
        kill(running.pid(), Signal::SIGWINCH).unwrap();
        running.once("USR2", round);
    }
}

#[test]
fn we_stop_and_go_on_with_the_command() {
    let scratch = Scratch::new();
    let mut running = Running::start(&mut scratch.wrap(&reporter_of("CONT")));
    let command = running.ready();
    let (wrapper, stopped) = (running.pid(), Some(WaitPidFlag::WUNTRACED));
    for (round, signal) in [(1, Signal::SIGSTOP), (2, Signal::SIGTSTP)] {
        // To the command alone, then to us alone.
        kill(if round == 1 { command } else { wrapper }, signal).unwrap();
        assert_eq!(
            waitpid(wrapper, stopped),
            Ok(WaitStatus::Stopped(wrapper, signal))
        );
        assert_eq!(stat_field(&command.to_string(), 3), "T");
        kill(wrapper, Signal::SIGCONT).unwrap();
        running.once("CONT", round);
    }
}

#[test]
fn a_continued_group_is_not_continued_twice() {
    let scratch = Scratch::new();
    let mut running = Running::start(&mut scratch.wrap(&reporter_of("CONT")));
    running.ready();
    for round in 1..=20 {
        killpg(running.pid(), Signal::SIGTSTP).unwrap();
        waitpid(running.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        killpg(running.pid(), Signal::SIGCONT).unwrap();
        running.once("CONT", round);
    }
}

#[test]
fn the_command_outlives_our_death() {
    let scratch = Scratch::new();
    let fifo = scratch.fifo("go");
    let script = format!("echo $$; read line <{}; echo alive", fifo.display());
    let mut running = Running::start(&mut scratch.wrap(&["sh", "-c", &script]));
    let command = running.line();
    kill(running.pid(), Signal::SIGKILL).unwrap();
    assert_eq!(
        running.process.wait().unwrap().signal(),
        Some(libc::SIGKILL)
    );
    assert_ne!(stat_field(&command, 4), running.process.id().to_string());
    // Open until the answer: an end without the other would lose the line.
    let mut go = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(fifo)
        .unwrap();
    go.write_all(b"\n").unwrap();
    assert_eq!(running.line(), "alive");
}

#[test]
fn orphans_do_not_become_ours() {
    let scratch = Scratch::new();
    // The middle shell ends at once, its child tells the parent it has then. The
    // outer one waits for the answer, so that we are still there to be that parent.
    let script = r#"
        sh -c 'sh -c "read line <go; cut -d\  -f4 /proc/\$\$/stat >answer" & echo $$ >middle'
        echo >go
        cat answer
    "#;
    scratch.fifo("go");
    scratch.fifo("answer");
    let mut running = Running::start(scratch.wrap(&["sh", "-c", script]).current_dir(&scratch.0));
    let parent = running.line();
    let wrapper = running.process.id().to_string();
    let middle = fs::read_to_string(scratch.path("middle")).unwrap();
    assert!(
        !parent.is_empty() && parent != wrapper && parent != middle.trim(),
        "{parent}"
    );
    assert!(running.end().1.success());
}

#[test]
fn a_wait_ends_with_its_time() {
    let scratch = Scratch::new();
    let fifo = scratch.fifo("ticks");
    let script = format!("read line <{}; exit 5", fifo.display());
    let mut command = scratch.wrap(&["sh", "-c", &script]);
    let (_, status) = run(command.env(TICKS, fifo));
    assert_eq!(status.code(), Some(5));
}
