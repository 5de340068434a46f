//! Guards for tests on real kernel objects.

use std::{
    panic, thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// Runs `test` in a mount namespace of its own, which goes with all that it
/// mounts when the test ends, however it ends.
pub fn in_private_mounts<R: Send>(test: impl FnOnce() -> R + Send) -> R {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("root is needed");
        change(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        test()
    };
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

/// Waits for something that others delay: a process that another test starts
/// has copies of all descriptors until it runs its program.
pub fn eventually(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// Mounts an empty file system, of `kind`, over `point`.
pub fn cover(point: &str, kind: &str) {
    change(Some(kind), point, Some(kind), MsFlags::empty());
}

/// Gives the caller's mount namespace a `/sys` of its own, as `ip netns exec` does.
pub fn own_sys() {
    umount2("/sys", MntFlags::MNT_DETACH).unwrap();
    cover("/sys", "sysfs");
}

fn change(source: Option<&str>, point: &str, kind: Option<&str>, flags: MsFlags) {
    mount(source, point, kind, flags, None::<&str>).unwrap();
}
