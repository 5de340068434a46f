use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::host::{
    owner,
    testing::{cover, eventually, in_private_mounts},
};

/// A cgroup of a test; it and everything in it go with the guard.
struct Scratch(Cgroup);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = owner::name(&format!("test{count}"));
        Self(Cgroup::create(&name).expect("root and cgroup v2 are needed"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::write(self.0.path.join("cgroup.kill"), "1").unwrap();
        assert!(eventually(|| !self.0.is_populated().unwrap()));
        self.0.remove().unwrap();
    }
}

/// A process that waits until it is ended by the guard.
struct Waiting(Child);

impl Waiting {
    fn inside(cgroup: &Cgroup) -> Self {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let waiting = Self(child);
        cgroup.join(waiting.0.id()).unwrap();
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_own_cgroup_is_the_one_that_lists_this_process() {
    let own = Cgroup::own().unwrap();
    assert!(own.procs().unwrap().contains(&process::id()));
}

#[test]
fn a_cgroup_is_below_the_own_one_and_goes() {
    let made = Cgroup::create(&owner::name("test")).unwrap();
    assert!(made.path().starts_with(Cgroup::own().unwrap().path()));
    assert_eq!(made.parent().unwrap().path(), Cgroup::own().unwrap().path());
    assert_eq!(made.name(), owner::name("test"));
    assert!(made.open().unwrap().metadata().unwrap().is_dir());
    assert!(!made.is_populated().unwrap());
    made.create_child("empty").unwrap();
    made.remove().unwrap();
    made.remove().unwrap();
    assert!(!made.path().exists());
}

#[test]
fn processes_join_and_are_moved_out() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let processes = [Waiting::inside(&from.0), Waiting::inside(&from.0)];
    let pids = || {
        processes
            .iter()
            .map(|process| process.0.id())
            .collect::<BTreeSet<_>>()
    };
    let within = |cgroup: &Cgroup| cgroup.procs().unwrap().into_iter().collect::<BTreeSet<_>>();
    assert_eq!(within(&from.0), pids());
    assert!(from.0.is_populated().unwrap());
    // It cannot be removed with processes in it.
    let refusal = from.0.remove().unwrap_err().to_string();
    assert!(refusal.contains("it holds processes"), "{refusal}");

    from.0.move_all_to(&to.0).unwrap();
    assert!(within(&from.0).is_empty());
    assert_eq!(within(&to.0), pids());
    assert!(!from.0.is_populated().unwrap());
}

#[test]
fn processes_that_fork_meanwhile_are_moved_too() {
    let (one, two) = (Scratch::new(), Scratch::new());
    let forking = [0; 4].map(|_| {
        let mut shell = Command::new("sh")
            .args(["-c", "read go; while :; do (:) & (:); done"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        one.0.join(shell.id()).unwrap();
        // The end of its input lets it go.
        drop(shell.stdin.take());
        Waiting(shell)
    });
    // Often enough to meet a fork between the listing and the moving.
    for turn in 0..100 {
        let (from, to) = if turn % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        from.0.move_all_to(&to.0).unwrap();
        assert!(from.0.procs().unwrap().is_empty());
        let pids = to.0.procs().unwrap();
        assert!(forking.iter().all(|shell| pids.contains(&shell.0.id())));
    }
}

#[test]
fn a_process_that_has_ended_is_no_error() {
    let cgroup = Scratch::new();
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    cgroup.0.join(ended.id()).unwrap();
}

#[test]
fn leftovers_are_found_wherever_they_are() {
    let outer = Scratch::new();
    let between = outer.0.create_child("between").unwrap();
    // Pid 1 has not started at that time.
    let gone = "socketvirt-exec-1-18446744073709551615";
    let leftover = between.create_child(gone).unwrap();
    between.create_child("socketvirt-of-somebody").unwrap();
    let found = Cgroup::existing().unwrap();
    let place = |cgroup: &Cgroup| found.iter().position(|other| other.path() == cgroup.path());
    assert!(!leftover.owner_alive());
    assert!(outer.0.owner_alive());
    assert!(place(&leftover).unwrap() < place(&outer.0).unwrap());
    assert!(
        found
            .iter()
            .all(|cgroup| Owner::of(cgroup.name()).is_some())
    );
}

#[test]
fn a_run_of_another_pid_namespace_is_in_use() {
    // Its pid is not to be found here, but it holds the lock.
    let run = Cgroup::create("test-1-18446744073709551615").unwrap();
    let seen = Cgroup::at(run.path().to_owned());
    let while_held = seen.owner_alive();
    drop(run);
    let free = eventually(|| !seen.owner_alive());
    seen.remove().unwrap();
    assert!(while_held && free);
}

#[test]
fn a_threaded_cgroup_has_no_child_of_its_own() {
    let outer = Scratch::new();
    let threaded = outer.0.create_child("threaded").unwrap();
    fs::write(threaded.path().join("cgroup.type"), "threaded").unwrap();
    let refusal = threaded.create_child("inner").unwrap_err();
    assert!(matches!(refusal, CgroupError::Type { .. }), "{refusal}");
    assert!(!threaded.path().join("inner").exists());
}

#[test]
fn a_limit_is_named() {
    let outer = Scratch::new();
    fs::write(outer.0.path().join("cgroup.max.descendants"), "0").unwrap();
    let refusal = outer.0.create_child("inner").unwrap_err().to_string();
    assert!(refusal.contains("cgroup.max.descendants"), "{refusal}");
}

#[test]
fn the_top_has_no_parent() {
    let top = Cgroup::at(mounts().unwrap()[0].point.clone());
    assert!(matches!(top.parent(), Err(CgroupError::NoParent(_))));
}

/// As under `ip netns exec`.
#[test]
fn where_version_2_is_hidden_that_of_whoever_started_us_is_used() {
    in_private_mounts(|| {
        let seen = mounts().unwrap()[0].point.clone();
        for mount in mounts().unwrap() {
            cover(mount.point.to_str().unwrap(), "tmpfs");
        }
        let found = mounts().unwrap().remove(0);
        assert_eq!(found.lender.as_ref().unwrap().point, seen);
        let made = Cgroup::create("hidden-1-2").unwrap();
        assert!(made.path().starts_with(&found.point));
        assert!(made.procs().unwrap().is_empty());
        made.remove().unwrap();
        let top = Cgroup::at(found.point);
        assert!(matches!(top.parent(), Err(CgroupError::NoParent(_))));
    });
}

#[test]
fn a_system_without_version_2_is_told_what_can_be_done() {
    let told = CgroupError::NotMounted.to_string();
    assert!(
        told.starts_with("cgroup v2 is mounted neither here"),
        "{told}"
    );
    // Not in sysfs, where no folder can be made.
    assert!(!told.contains("/sys"), "{told}");
}
