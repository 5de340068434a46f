//! Paths of cgroups by their ids.
//!
//! The id of a cgroup is the inode of its folder, so one walk over the folders
//! names them all. A socket may be of a cgroup that is gone.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use super::cgroup;

/// The depth to which cgroups are looked for.
const MAX_DEPTH: u32 = 32;

/// The paths, from the top of version 2, by id.
#[must_use]
pub fn paths() -> HashMap<u64, String> {
    let mut paths = HashMap::new();
    if let Some(mount) = cgroup::mounts().unwrap_or_default().first() {
        walk(&mount.point, &mount.point, MAX_DEPTH, &mut paths);
    }
    paths
}

fn walk(top: &Path, at: &Path, depth: u32, paths: &mut HashMap<u64, String>) {
    let Ok(found) = fs::metadata(at) else {
        return;
    };
    let below = at.strip_prefix(top).unwrap_or(at);
    paths.insert(found.ino(), format!("/{}", below.display()));
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(at)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(top, &entry.path(), depth - 1, paths);
        }
    }
}
