//! The mounted file systems.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// The mounts that this process sees.
pub fn read() -> Result<String> {
    fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")
}

/// Mount points of a file system type, from the text of [`read`]. An option that is not empty has to be among the
/// mount's: `memory` of the cgroup hierarchies of version 1.
pub fn points(mounts: &str, kind: &str, option: &str) -> impl Iterator<Item = PathBuf> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ').skip(1);
        let (point, found, options) = (fields.next()?, fields.next()?, fields.next()?);
        let has = option.is_empty() || options.split(',').any(|word| word == option);
        (found == kind && has).then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_type_and_option() {
        let mounts = "bpf /sys/fs/bpf bpf rw 0 0\ncgroup /c/cpu cgroup rw,cpu 0 0\n\
                      cgroup /c/memory cgroup rw,memory 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n";
        let found = |kind, option| points(mounts, kind, option).collect::<Vec<_>>();
        assert_eq!(found("cgroup2", ""), [PathBuf::from("/c/unified")]);
        assert_eq!(found("cgroup", "memory"), [PathBuf::from("/c/memory")]);
        assert_eq!(found("cgroup", "").len(), 2);
        assert!(found("cgroup", "pids").is_empty());
    }
}
