//! Guards for tests on real kernel objects.

use std::{
    panic,
    path::Path,
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statfs::BPF_FS_MAGIC,
};

use super::mounts;

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

/// Runs `test` with a `/sys` of its own, as `ip netns exec` does. Whoever started the
/// tests has the BPF file system.
pub fn with_own_sys<R: Send>(test: impl FnOnce() -> R + Send) -> R {
    /// One test mounts it; two would hide each other's.
    static MOUNTED: Once = Once::new();
    MOUNTED.call_once(|| {
        let point = "/sys/fs/bpf";
        if !mounts::is_of(Path::new(point), BPF_FS_MAGIC) {
            let mode = Some("mode=0700");
            mount(Some("bpf"), point, Some("bpf"), MsFlags::empty(), mode).unwrap();
        }
    });
    in_private_mounts(|| {
        own_sys();
        test()
    })
}

fn own_sys() {
    umount2("/sys", MntFlags::MNT_DETACH).unwrap();
    cover("/sys", "sysfs");
}

fn change(source: Option<&str>, point: &str, kind: Option<&str>, flags: MsFlags) {
    mount(source, point, kind, flags, None::<&str>).unwrap();
}
