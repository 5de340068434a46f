//! A cgroup that is removed and made again under its path: every service that
//! is restarted, every container of the same name.
//!
//! The new one is another cgroup to the kernel. A thread looks at the path, ten
//! times a second; a look is one stat(2).

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, PipeWriter},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use aya::programs::{ProgramInfo, SockOps};
use nix::poll::{PollFd, PollFlags, poll};

use super::Target;
use crate::{
    bpf::{error::DataPathError, sys},
    datapath::{home, load},
    tell,
    watch::scope::Id,
};

/// Milliseconds from one look to the next.
const PAUSE: u8 = 100;

/// The thread at work; it ends when this is dropped.
pub struct Following {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    /// Follows `target`, whose id is `id`: attaches the handshake program, which
    /// `program` tells, to each cgroup that takes its place. Links are pinned in
    /// `folder`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(in crate::session) fn start(
        target: &Target,
        id: Id,
        program: ProgramInfo,
        folder: &Path,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let mut followed = Followed {
            path: target.path.clone(),
            folder: folder.to_owned(),
            id,
            is_gone: false,
            program: SockOps::from_program_info(program, Cow::Borrowed("sv_sock_ops"))
                .map_err(io::Error::other)?,
            refused: 0,
        };
        let work = move || {
            let mut ready = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
            // Closing the other end is the stop.
            while matches!(
                poll(&mut ready, PAUSE),
                Ok(0) | Err(nix::errno::Errno::EINTR)
            ) {
                followed.look();
            }
        };
        let thread = thread::Builder::new().name("scope".into()).spawn(work)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Followed {
    path: PathBuf,
    folder: PathBuf,
    id: Id,
    /// Said to be gone.
    is_gone: bool,
    program: SockOps,
    /// The cgroup that the program could not be attached to, which is said once.
    refused: u64,
}

impl Followed {
    fn look(&mut self) {
        match fs::metadata(&self.path).map(|found| found.ino()) {
            Ok(found) if found == self.id.get() => self.is_gone = false,
            Ok(found) => self.follow(found),
            Err(_) if self.is_gone => {}
            Err(_) => {
                self.is_gone = true;
                tell!(
                    "the cgroup {} is gone; what is made there again is accelerated too",
                    self.path.display()
                );
            }
        }
    }

    fn follow(&mut self, found: u64) {
        match self.attach() {
            Ok(id) => {
                self.id.set(id);
                self.is_gone = false;
                tell!(
                    "the cgroup {} was made again; accelerating there",
                    self.path.display()
                );
            }
            Err(error) if self.refused != found => {
                self.refused = found;
                tell!(
                    "the cgroup {} was made again, but nothing is accelerated there: {error}",
                    self.path.display()
                );
            }
            Err(_) => {}
        }
    }

    /// Attaches the program to the cgroup that is there now.
    fn attach(&mut self) -> Result<u64, DataPathError> {
        let opened = File::open(&self.path).and_then(|folder| {
            let id = folder.metadata()?.ino();
            Ok((folder, id))
        });
        let (cgroup, id) = opened.map_err(|source| DataPathError::Attach {
            name: "sv_sock_ops",
            source,
        })?;
        let link = self.folder.join(home::SOCK_OPS_LINK);
        // Sockets of the cgroup before keep their callbacks until they close.
        let before = format!("{}_{}", home::SOCK_OPS_LINK, self.id.get());
        let _ = fs::rename(&link, self.folder.join(before));
        load::attach_to(&mut self.program, &cgroup, &self.folder)?;
        self.forget_closed();
        Ok(id)
    }

    /// Unpins the links of cgroups whose last socket is closed.
    fn forget_closed(&self) {
        let prefix = format!("{}_", home::SOCK_OPS_LINK);
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_before = entry.file_name().to_string_lossy().starts_with(&prefix);
            if is_before && matches!(sys::cgroup_of_link(&entry.path()), Ok(0)) {
                // What stays is removed with the folder.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
