use std::{
    ffi::CString,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    process::{Command, Stdio},
};

use super::*;
use crate::host::{
    owner,
    testing::{cover, eventually, in_private_mounts, own_sys},
};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;

/// bpf(2); `attributes` is the beginning of `union bpf_attr`.
fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<i32, Errno> {
    // SAFETY: the attributes live during the call and their size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    Errno::result(answer).map(|fd| i32::try_from(fd).unwrap())
}

/// Type array, key and value of 4 bytes, one entry.
fn map() -> OwnedFd {
    let fd = bpf(BPF_MAP_CREATE, &[2_u32, 4, 4, 1]).unwrap();
    // SAFETY: a descriptor that nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

fn object(command: libc::c_int, path: &Path, fd: u32) -> Result<i32, Errno> {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let attributes = Object {
        path: path.as_ptr() as u64,
        fd,
        flags: 0,
    };
    bpf(command, &attributes)
}

fn pin(map: &OwnedFd, path: &Path) {
    object(BPF_OBJ_PIN, path, map.as_raw_fd().cast_unsigned()).unwrap();
}

fn is_pinned(path: &Path) -> bool {
    match object(BPF_OBJ_GET, path, 0) {
        Ok(fd) => {
            // SAFETY: a descriptor that nobody else has.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            true
        }
        Err(_) => false,
    }
}

/// With a BPF file system that no other test or program sees.
fn with_own_bpffs<R: Send>(test: impl FnOnce() -> R + Send) -> R {
    in_private_mounts(|| {
        cover(USUAL, "bpf");
        test()
    })
}

fn names() -> Vec<String> {
    let mut names: Vec<_> = PinDir::existing()
        .unwrap()
        .iter()
        .map(|folder| {
            folder
                .path()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn pinned_objects_survive_the_renaming() {
    with_own_bpffs(|| {
        let name = owner::name("exec");
        let mut folder = PinDir::create(&name).unwrap();
        pin(&map(), &folder.path().join("sv_map"));
        fs::create_dir(folder.path().join("inner")).unwrap();
        pin(&map(), &folder.path().join("inner/sv_other"));
        let aside = folder.path().to_owned();
        assert_eq!(names(), [format!("new-{name}")]);

        folder.publish().unwrap();
        assert!(!aside.exists());
        assert_eq!(names(), [name.as_str()]);
        assert!(is_pinned(&folder.path().join("sv_map")));
        assert!(is_pinned(&folder.path().join("inner/sv_other")));

        folder.remove_object("sv_map").unwrap();
        folder.remove_object("sv_map").unwrap();
        assert!(!is_pinned(&folder.path().join("sv_map")));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(!Path::new(USUAL).join(OURS).exists());
    });
}

#[test]
fn a_complete_folder_is_never_replaced() {
    with_own_bpffs(|| {
        let mut first = PinDir::create("exec-1-2").unwrap();
        pin(&map(), &first.path().join("sv_map"));
        first.publish().unwrap();
        let mut second = PinDir::create("exec-1-2").unwrap();
        assert!(matches!(second.publish(), Err(PinError::Refused { .. })));
        assert!(is_pinned(&first.path().join("sv_map")));
    });
}

#[test]
fn leftovers_are_told_from_folders_in_use() {
    with_own_bpffs(|| {
        let alive = |name: &str| {
            let found = PinDir::existing().unwrap();
            let folder = found.iter().find(|folder| folder.name() == name).unwrap();
            folder.owner_alive()
        };
        // Pid 1 has not started at that time.
        let gone = "exec-1-18446744073709551615";
        let folder = PinDir::create(gone).unwrap();
        // Locked by a process that is not to be found under its pid: it lives
        // in another pid namespace.
        assert!(alive(gone));
        drop(folder);
        assert!(eventually(|| !alive(gone)));

        let own = owner::name("exec");
        drop(PinDir::create(&own).unwrap());
        assert!(alive(&own));

        drop(PinDir::create("agent").unwrap());
        assert!(alive("agent"));
    });
}

#[test]
fn the_lock_does_not_pass_to_programs_that_are_started() {
    with_own_bpffs(|| {
        let folder = PinDir::create("exec-1-18446744073709551615").unwrap();
        let mut program = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        drop(folder);
        let leftover = PinDir::existing().unwrap();
        let free = eventually(|| !leftover[0].owner_alive());
        drop(program.stdin.take());
        program.wait().unwrap();
        assert!(free);
    });
}

#[test]
fn it_is_mounted_when_it_is_missing() {
    in_private_mounts(|| {
        while mounts::is_of(Path::new(USUAL), BPF_FS_MAGIC) {
            nix::mount::umount2(USUAL, nix::mount::MntFlags::MNT_DETACH).unwrap();
        }
        assert_eq!(mount_usual().unwrap(), Path::new(USUAL));
        assert!(PinDir::existing().unwrap().is_empty());
        assert!(mounts::is_of(Path::new(USUAL), BPF_FS_MAGIC));
        assert_eq!(fs::metadata(USUAL).unwrap().mode() & 0o777, 0o700);
    });
}

/// As under `ip netns exec`.
#[test]
fn where_it_is_hidden_that_of_whoever_started_us_is_used() {
    in_private_mounts(|| {
        own_sys();
        let found = find().unwrap().unwrap();
        assert_eq!(found.lender.as_ref().unwrap().point, Path::new(USUAL));
        assert!(mounts::is_of(&found.point, BPF_FS_MAGIC));
        assert!(!mounts::is_of(Path::new(USUAL), BPF_FS_MAGIC));
    });
}

#[test]
fn a_mount_in_another_place_is_found() {
    in_private_mounts(|| {
        cover(USUAL, "tmpfs");
        cover("/run", "bpf");
        assert_eq!(mounted().unwrap().as_deref(), Some(Path::new("/run")));
    });
}

#[test]
fn names_that_the_kernel_refuses_are_refused_first() {
    for name in ["", "a.b", "a/b", "..", "new-a"] {
        assert!(
            matches!(PinDir::create(name), Err(PinError::Name(_))),
            "{name}"
        );
    }
}

#[test]
fn a_folder_that_another_user_made_is_refused() {
    with_own_bpffs(|| {
        let ours = Path::new(USUAL).join(OURS);
        fs::create_dir(&ours).unwrap();
        std::os::unix::fs::chown(&ours, Some(65_534), None).unwrap();
        assert!(matches!(PinDir::create("a"), Err(PinError::Foreign { .. })));
    });
}
