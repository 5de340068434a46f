//! The files that a worker leaves: its summary, its standard error.
//!
//! Files in memory, reached through a descriptor of this process: however the
//! benchmark ends, nothing of them stays.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::PathBuf,
    process,
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::Error;

/// Characters of standard error that a report repeats: an error and its causes.
const SAID: usize = 400;

/// The two files of one worker.
#[derive(Debug)]
pub struct Scratch {
    summary: File,
    stderr: File,
}

impl Scratch {
    /// Makes new ones.
    ///
    /// # Errors
    /// When the kernel has no memory for them.
    pub fn new() -> Result<Self, Error> {
        let file = |name| {
            memfd_create(name, MFdFlags::MFD_CLOEXEC)
                .map(File::from)
                .map_err(Error::call("memfd_create"))
        };
        Ok(Self {
            summary: file("summary")?,
            stderr: file("stderr")?,
        })
    }

    /// Where `exec` writes its summary, as other processes open it.
    #[must_use]
    pub fn summary(&self) -> PathBuf {
        path(&self.summary)
    }

    /// For the standard error of a worker.
    ///
    /// # Errors
    /// When the descriptor cannot be copied.
    pub fn stderr(&self) -> Result<File, Error> {
        self.stderr
            .try_clone()
            .map_err(Error::io("copy a descriptor"))
    }

    /// The text that a worker wrote to standard error, on one line.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let text = fs::read_to_string(path(&self.stderr)).ok()?;
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Some(lines.join(" ").chars().take(SAID).collect())
    }
}

fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()))
}
