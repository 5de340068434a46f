//! Cgroups as a process in a cgroup namespace of its own sees them, a container above all.
//!
//! Its own cgroup is `/` to it, one above is `/..`. A mount that was made outside, as a container is
//! given the host's, shows a root such as `/../..`: so far above is the top of that mount. Names on
//! the way down are told nowhere. But the depth is, and the cgroup lists its processes.

use std::{
    fs, iter,
    path::{Component, Path, PathBuf},
};

use super::{CgroupError, refused};
use crate::host::mounts::Mount;

/// The number of cgroups between the top of a mount and the caller's root; none for a mount
/// that shows less than that root.
fn above(root: &Path) -> Option<usize> {
    let mut parts = root.components();
    parts.next().filter(|first| *first == Component::RootDir)?;
    let mut count = 0;
    for part in parts {
        if part != Component::ParentDir {
            return None;
        }
        count += 1;
    }
    Some(count)
}

/// The order of mounts: those that show most come first.
pub(super) fn order(mount: &Mount) -> (usize, usize) {
    match above(&mount.root) {
        Some(count) => (usize::MAX - count, 0),
        None => (usize::MAX, mount.root.components().count()),
    }
}

/// Finds the folder of a process's cgroup, by its list of processes, below a mount that
/// was made outside.
pub(super) fn of_member(mount: &Mount, own: &Path, pid: u32) -> Option<PathBuf> {
    let depth = above(&mount.root)? + own.components().skip(1).count();
    let lists_it = |folder: &PathBuf| {
        fs::read_to_string(folder.join("cgroup.procs"))
            .is_ok_and(|list| list.lines().any(|line| line.parse() == Ok(pid)))
    };
    at_depth(&mount.point, depth).find(lists_it)
}

/// All folders so far below another one.
fn at_depth(top: &Path, depth: usize) -> Box<dyn Iterator<Item = PathBuf>> {
    if depth == 0 {
        return Box::new(iter::once(top.to_owned()));
    }
    let entries = fs::read_dir(top).into_iter().flatten();
    let folders = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Box::new(folders.flat_map(move |entry| at_depth(&entry.path(), depth - 1)))
}

/// Returns the folder that `asked`, a path such as `/..` or `/../other`, is to the process
/// whose own cgroup is `own` as `/proc/<pid>/cgroup` shows it, and is in `folder`.
///
/// # Errors
/// When there is no such folder.
pub(super) fn relative(folder: &Path, own: &Path, asked: &Path) -> Result<PathBuf, CgroupError> {
    let mut found = folder.to_owned();
    for _ in own.components().skip(1) {
        found.push("..");
    }
    found.push(asked.strip_prefix("/").unwrap_or(asked));
    fs::canonicalize(&found).map_err(refused("finding the cgroup", asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str) -> Mount {
        Mount {
            root: root.into(),
            point: PathBuf::new(),
            kind: String::new(),
            lender: None,
        }
    }

    #[test]
    fn mounts_that_show_most_come_first() {
        let mut all = ["/a/b", "/", "/..", "/a", "/../../.."].map(mount);
        all.sort_by_key(order);
        let roots = all.map(|one| one.root.display().to_string());
        assert_eq!(roots, ["/../../..", "/..", "/", "/a", "/a/b"]);
    }

    #[test]
    fn a_process_is_found_at_its_depth_alone() {
        let top = tempfile::tempdir().unwrap();
        for folder in ["a", "a/b", "c", "c/d"] {
            let path = top.path().join(folder);
            fs::create_dir(&path).unwrap();
            let list = if folder == "a/b" || folder == "c" {
                "7\n12\n"
            } else {
                "1\n"
            };
            fs::write(path.join("cgroup.procs"), list).unwrap();
        }
        let at = |root: &str, own: &str, pid| {
            let mut mount = mount(root);
            mount.point = top.path().to_owned();
            of_member(&mount, Path::new(own), pid)
        };
        assert_eq!(at("/../..", "/", 12), Some(top.path().join("a/b")));
        assert_eq!(at("/..", "/b", 12), Some(top.path().join("a/b")));
        assert_eq!(at("/..", "/", 12), Some(top.path().join("c")));
        assert_eq!(at("/../..", "/", 2), None);
        assert_eq!(at("/a", "/", 12), None);
    }

    #[test]
    fn one_above_is_the_pod_of_a_container() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        fs::create_dir_all(top.join("pod/agent/below")).unwrap();
        let pod = |folder: &str, own: &str, asked: &str| {
            relative(&top.join(folder), Path::new(own), Path::new(asked)).ok()
        };
        assert_eq!(pod("pod/agent", "/", "/.."), Some(top.join("pod")));
        assert_eq!(
            pod("pod/agent/below", "/below", "/.."),
            Some(top.join("pod"))
        );
        assert_eq!(pod("pod/agent", "/", "/../none"), None);
    }
}
