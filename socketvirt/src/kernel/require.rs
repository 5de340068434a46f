//! The needs of the agent from the machine and from its caller, checked before
//! anything is made.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::MapType;
use nix::sys::utsname::uname;

use super::{
    btf,
    capabilities::{Held, NEEDED},
};
use crate::host::{
    bpffs::{self, PinError},
    cgroup::{self, CgroupError},
    mounts::Mount,
};

/// The first kernel on which an `sk_msg` program knows the namespace of its
/// socket. From 5.11 on the memory of maps is charged to the cgroup and not
/// to `RLIMIT_MEMLOCK`, which therefore needs no raising.
const LEAST: (u32, u32) = (5, 15);

/// See [`iterator_locks_sockets`].
const LOCKING_ITERATOR: (u32, u32) = (6, 5);

/// See [`visits_can_follow`].
const CALLBACKS_IN_MID_LIFE: (u32, u32) = (6, 12);

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Something is missing.
#[derive(Debug, thiserror::Error)]
pub enum Requirement {
    /// Not root.
    #[error(
        "{0} is missing; start it as root, with `sudo` (in a container: add it to its capabilities)"
    )]
    Capabilities(String),

    /// An old kernel.
    #[error("Linux {}.{} or later is needed and this is {release}; use a newer kernel", LEAST.0, LEAST.1)]
    Kernel {
        /// The kernel's own release name.
        release: String,
    },

    /// No BTF.
    #[error(
        "{} is missing, in which the kernel describes its structures; use a kernel that was built \
         with CONFIG_DEBUG_INFO_BTF=y",
        btf::VMLINUX
    )]
    Btf,

    /// Lockdown.
    #[error(
        "the kernel is locked down for confidentiality, so that BPF programs may not read its \
         memory; start the machine with `lockdown=integrity` or `lockdown=none`"
    )]
    Lockdown,

    /// bpf(2) is forbidden, whatever the capabilities.
    #[error(
        "the kernel refuses bpf(2): {0}; in a container, start it without a seccomp filter and \
         without a user namespace, or on the host"
    )]
    Refused(io::Error),

    /// No socket maps.
    #[error(
        "this kernel has no socket maps; use one that was built with CONFIG_BPF_SYSCALL=y, \
         CONFIG_CGROUP_BPF=y and CONFIG_BPF_STREAM_PARSER=y"
    )]
    SocketMaps,

    /// No cgroup v2.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),

    /// The mounts could not be looked at.
    #[error(transparent)]
    Pins(#[from] PinError),

    /// No BPF file system, and none can be mounted.
    #[error(
        "the BPF file system is not mounted and cannot be: {0} is missing; mount sysfs on /sys, or \
         in a container pass the host's /sys/fs/bpf in"
    )]
    Bpffs(PathBuf),

    /// `/proc` is not what it should be.
    #[error("reading {path} failed: {source}; is /proc mounted?")]
    Proc {
        /// The file.
        path: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A question's name, and the function that finds the answer.
pub type Need = (&'static str, fn() -> Result<String, Requirement>);

/// Everything that is needed, in an order in which the first thing that is
/// missing explains the ones after it.
pub const NEEDS: [Need; 7] = [
    ("capabilities", capabilities),
    ("kernel", kernel),
    ("btf", types),
    ("lockdown", lockdown),
    ("socket_maps", socket_maps),
    ("cgroup", cgroups),
    ("bpffs", pins),
];

/// Checks that the agent can work here. Nothing is changed.
///
/// # Errors
/// The first thing that is missing.
pub fn check() -> Result<(), Requirement> {
    NEEDS.iter().try_for_each(|(_, ask)| ask().map(|_| ()))
}

fn kernel() -> Result<String, Requirement> {
    let release = release();
    if is_at_least(&release, LEAST) {
        Ok(release)
    } else {
        Err(Requirement::Kernel { release })
    }
}

fn types() -> Result<String, Requirement> {
    if Path::new(btf::VMLINUX).exists() {
        Ok(btf::VMLINUX.into())
    } else {
        Err(Requirement::Btf)
    }
}

/// Not there without lockdown, or without securityfs: then the verifier's
/// answer is the first to tell.
fn lockdown() -> Result<String, Requirement> {
    match fs::read_to_string(LOCKDOWN) {
        Ok(text) if is_confidential(&text) => Err(Requirement::Lockdown),
        Ok(text) => Ok(text.trim_end().into()),
        Err(_) => Ok("unknown, securityfs is not mounted".into()),
    }
}

fn socket_maps() -> Result<String, Requirement> {
    match aya::sys::is_map_supported(MapType::SockHash) {
        Ok(true) => Ok("SOCKHASH".into()),
        Ok(false) => Err(Requirement::SocketMaps),
        Err(error) => Err(Requirement::Refused(error.io_error)),
    }
}

fn cgroups() -> Result<String, Requirement> {
    let mounts = cgroup::mounts()?;
    Ok(mounts.first().map(Mount::shown).unwrap_or_default())
}

fn pins() -> Result<String, Requirement> {
    place_for_pins(bpffs::find()?.as_ref(), Path::new(bpffs::USUAL))
}

fn place_for_pins(mounted: Option<&Mount>, usual: &Path) -> Result<String, Requirement> {
    match mounted {
        Some(mount) => Ok(mount.shown()),
        None if usual.is_dir() => Ok(format!("will be mounted on {}", usual.display())),
        None => Err(Requirement::Bpffs(usual.to_owned())),
    }
}

fn capabilities() -> Result<String, Requirement> {
    let held = Held::of_caller().map_err(|(path, source)| Requirement::Proc { path, source })?;
    let missing = held.missing();
    if missing.is_empty() {
        Ok(NEEDED.map(|(name, ..)| name).join(", "))
    } else {
        Err(Requirement::Capabilities(missing.join(", ")))
    }
}

/// True when the TCP iterator surely holds the lock of the socket that it shows
/// (`bpf_iter_tcp_seq_show`, `net/ipv4/tcp_ipv4.c`). Before 6.5 it takes the
/// fast lock, under which enrolling a socket deadlocks. Stable kernels have the
/// correction too (Debian's 6.1.192 has), but nothing tells which.
#[must_use]
pub fn iterator_locks_sockets() -> bool {
    is_at_least(&release(), LOCKING_ITERATOR)
}

/// True when a scan can have the end of a connection reported
/// (`TCP_BPF_SOCK_OPS_CB_FLAGS`, include/uapi/linux/bpf.h), without which it
/// adopts nothing. Eager mode asks for that in the handshake, on any kernel.
#[must_use]
pub fn visits_can_follow() -> bool {
    is_at_least(&release(), CALLBACKS_IN_MID_LIFE)
}

/// The kernel's own release name.
#[must_use]
pub fn release() -> String {
    uname().map_or_else(
        |_| String::new(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// `6.18.44-fc`. What does not begin with two numbers is let through: a later
/// step says what it lacks.
fn is_at_least(release: &str, least: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= least,
        _ => true,
    }
}

/// `none [integrity] confidentiality`.
fn is_confidential(lockdown: &str) -> bool {
    lockdown.contains("[confidentiality]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::{cover, in_private_mounts, with_own_sys};

    #[test]
    fn this_machine_has_what_is_needed() {
        check().unwrap();
    }

    #[test]
    fn a_caller_who_is_not_root_is_told_so() {
        let refusal = in_private_mounts(|| {
            // SAFETY: plain numbers. The bare call, unlike the C library's,
            // changes the calling thread alone.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
            assert_eq!(changed, 0);
            check().unwrap_err().to_string()
        });
        assert!(
            refusal.contains("CAP_BPF (for programs and maps) is missing; start it as root"),
            "{refusal}"
        );
    }

    #[test]
    fn a_kernel_without_btf_is_refused() {
        let refusal = in_private_mounts(|| {
            cover("/sys/kernel/btf", "tmpfs");
            check().unwrap_err()
        });
        assert!(matches!(refusal, Requirement::Btf), "{refusal}");
    }

    #[test]
    fn a_locked_kernel_is_refused() {
        let refusal = in_private_mounts(|| {
            cover("/sys/kernel/security", "tmpfs");
            fs::write(LOCKDOWN, "none [integrity] confidentiality\n").unwrap();
            check().unwrap();
            fs::write(LOCKDOWN, "none integrity [confidentiality]\n").unwrap();
            check().unwrap_err()
        });
        assert!(matches!(refusal, Requirement::Lockdown), "{refusal}");
    }

    /// As under `ip netns exec`.
    #[test]
    fn a_hidden_sys_is_looked_for_elsewhere() {
        with_own_sys(|| {
            check().unwrap();
            assert!(cgroups().unwrap().contains(", of process "));
            assert!(pins().unwrap().starts_with("/sys/fs/bpf, of process "));
        });
    }

    #[test]
    fn a_system_without_a_place_for_pins_is_refused() {
        let usual = Path::new("/there/is/none");
        let refusal = place_for_pins(None, usual).unwrap_err();
        assert!(matches!(refusal, Requirement::Bpffs(_)), "{refusal}");
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, enough) in [
            ("6.18.44-fc-v595", true),
            ("5.15.0-91-generic", true),
            ("5.9.0", false),
            ("5.14.0-427.el9", false),
            ("4.18.0", false),
            ("10.0", true),
            ("unknown", true),
        ] {
            assert_eq!(is_at_least(release, LEAST), enough, "{release}");
        }
    }
}
