//! A cgroup that is removed and made again under its path: every service that
//! is restarted, every container of the same name.
//!
//! The new one is another cgroup to the kernel. A thread looks at the path, ten
//! times a second; a look is one stat(2).

use std::{
    fs::{self, File},
    io::{self, PipeWriter},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use aya::programs::SockOps;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use super::Target;
use crate::{
    bpf::{error::BpfError, sys},
    datapath::{home, load},
    tell,
    thread::{Panicked, Thread},
    watch::scope::Id,
};

/// Milliseconds from one look to the next.
const PAUSE: u8 = 100;

/// The cgroup cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no thread for it.
    #[error("starting the thread that follows the cgroup failed: {0}")]
    Start(#[from] io::Error),
    /// Between two looks.
    #[error("waiting for the cgroup to be made again failed: {0}")]
    Wait(#[from] Errno),
    /// The thread has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The thread at work; it ends when this is dropped.
pub struct Following {
    stop: PipeWriter,
    thread: Thread<Result<(), Errno>>,
}

impl Following {
    /// Follows `target`, whose id is `id`: attaches the handshake program, `program`, to each cgroup that takes its place. Links are pinned in
    /// `folder`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(in crate::session) fn start(
        target: &Target,
        id: Id,
        program: SockOps,
        folder: &Path,
    ) -> Result<Self, FollowError> {
        let (stopped, stop) = io::pipe()?;
        let mut followed = Followed {
            path: target.path.clone(),
            folder: folder.to_owned(),
            id,
            is_gone: false,
            program,
            refused: 0,
        };
        let work = move || {
            let mut ready = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
            loop {
                match poll(&mut ready, PAUSE) {
                    Ok(0) | Err(Errno::EINTR) => followed.look(),
                    // Closing the other end is the stop.
                    Ok(_) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Self {
            stop,
            thread: Thread::start("scope", work)?,
        })
    }

    /// A descriptor that poll(2) reports once the thread has ended.
    pub(in crate::session) fn end(&self) -> BorrowedFd<'_> {
        self.thread.end()
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// When it had failed.
    pub(in crate::session) fn finish(self) -> Result<(), FollowError> {
        drop(self.stop);
        Ok(self.thread.join()??)
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
    fn attach(&mut self) -> Result<u64, BpfError> {
        let opened = File::open(&self.path).and_then(|folder| {
            let id = folder.metadata()?.ino();
            Ok((folder, id))
        });
        let (cgroup, id) = opened.map_err(|source| BpfError::Attach {
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
                // A link that stays is removed with the folder.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
