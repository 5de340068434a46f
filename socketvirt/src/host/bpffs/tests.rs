use std::process::{Command, Stdio};

use aya::maps::{Array, MapData};

use super::*;
use crate::host::{
    owner,
    testing::{cover, eventually, in_private_mounts, with_own_sys},
};

/// Pins a map of one entry.
fn pin(path: &Path) {
    let map = Array::<MapData, u32>::create(1, 0).unwrap();
    map.pin(path).unwrap();
}

fn is_pinned(path: &Path) -> bool {
    MapData::from_pin(path).is_ok()
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
fn a_folder_takes_the_place_of_another_at_once() {
    with_own_bpffs(|| {
        let mut old = PinDir::create(HOST).unwrap();
        pin(&old.path().join("sv_old"));
        old.publish().unwrap();
        let mut new = PinDir::create(HOST).unwrap();
        pin(&new.path().join("sv_new"));
        new.replace(&mut old).unwrap();
        assert!(new.is_complete() && !old.is_complete());
        assert!(is_pinned(&new.path().join("sv_new")));
        assert!(is_pinned(&old.path().join("sv_old")));
        assert_eq!(names(), ["host", "new-host"]);
        old.remove().unwrap();
        drop(old);
        assert_eq!(names(), ["host"]);
        // The name is locked still.
        let [other] = &mut PinDir::existing().unwrap()[..] else {
            panic!("{:?}", names());
        };
        assert!(other.owner_alive());
        assert!(matches!(other.lock(), Err(PinError::Held(_))));
    });
}

#[test]
fn pinned_objects_survive_the_renaming() {
    with_own_bpffs(|| {
        let name = owner::name("exec");
        let mut folder = PinDir::create(&name).unwrap();
        pin(&folder.path().join("sv_map"));
        fs::create_dir(folder.path().join("inner")).unwrap();
        pin(&folder.path().join("inner/sv_other"));
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
        pin(&first.path().join("sv_map"));
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
    with_own_sys(|| {
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

#[test]
fn that_of_the_host_is_its_owners_while_that_holds_it() {
    with_own_bpffs(|| {
        let mut made = PinDir::create(HOST).unwrap();
        assert!(made.outlives_owner() && !made.is_complete() && made.owner_alive());
        made.publish().unwrap();
        pin(&made.path().join("map"));

        let mut again = PinDir::existing().unwrap().remove(0);
        assert!(again.is_complete() && again.owner_alive());
        let error = again.lock().unwrap_err().to_string();
        let who = format!("by pid {}", std::process::id());
        assert!(error.contains(&who), "{error}");

        drop(made);
        assert!(!again.owner_alive());
        again.lock().unwrap();
        assert!(again.owner_alive());
        again.set_aside().unwrap();
        assert_eq!(names(), [owner::name("old")]);
        assert!(is_pinned(&again.path().join("map")));
    });
}
