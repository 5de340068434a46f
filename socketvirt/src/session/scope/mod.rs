//! Whose connections are accelerated.

pub mod again;

use std::{fs::File, os::unix::fs::MetadataExt as _, path::PathBuf};

use crate::host::cgroup::{self, CgroupError};

/// Whose connections are accelerated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of the processes that join the run's own cgroup.
    #[default]
    Own,
    /// Those of all processes of the host.
    Host,
    /// Those of a cgroup and of all below it: its path in `/proc/<pid>/cgroup`
    /// or its folder.
    Cgroup(PathBuf),
}

/// A cgroup that was there before.
pub(super) struct Target {
    /// Its folder.
    pub folder: File,
    /// Its path.
    pub path: PathBuf,
    /// The id by which sockets below it know it.
    pub id: u64,
}

impl Scope {
    /// The cgroup that was there before, if that is what is meant.
    pub(super) fn target(&self) -> Result<Option<Target>, CgroupError> {
        let mounts = cgroup::mounts()?;
        let mount = mounts.first().ok_or(CgroupError::NotMounted)?;
        let top = &*mount.point;
        let seen = mount.lender.as_ref().map_or(top, |lender| &lender.point);
        let path = match self {
            Self::Own => return Ok(None),
            Self::Host => top.to_owned(),
            Self::Cgroup(path) => {
                // A folder, or a path in `/proc/<pid>/cgroup`.
                let below = path.strip_prefix(seen).or_else(|_| path.strip_prefix("/"));
                match cgroup::above(path)? {
                    Some(above) => above,
                    None => top.join(below.unwrap_or(path)),
                }
            }
        };
        let opened = File::open(&path).and_then(|folder| {
            let id = folder.metadata()?.ino();
            // A folder that is no cgroup is no place for a program either.
            File::open(path.join("cgroup.procs"))?;
            Ok((folder, id))
        });
        let (folder, id) = opened.map_err(|source| CgroupError::Refused {
            attempt: "opening the cgroup",
            path: path.clone(),
            source,
            hint: "; `--cgroup` takes a path as `/proc/<pid>/cgroup` shows it",
        })?;
        Ok(Some(Target { folder, path, id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_host_is_the_top_that_is_mounted() {
        let target = Scope::Host.target().unwrap().unwrap();
        assert_eq!(target.id, target.folder.metadata().unwrap().ino());
        assert!(Scope::Own.target().unwrap().is_none());
    }

    #[test]
    fn what_is_no_cgroup_is_refused() {
        let error = Scope::Cgroup("/there/is/none".into()).target().err();
        assert!(error.unwrap().to_string().contains("/there/is/none"));
    }
}
