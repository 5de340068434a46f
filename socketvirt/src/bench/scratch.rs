//! A folder for what a worker leaves to read: its summary, its standard error.

use std::{
    env,
    fs::{self, File},
    path::PathBuf,
};

use nix::unistd::mkdtemp;

use super::error::Error;

/// Characters of standard error that a report repeats: an error and its causes.
const SAID: usize = 400;

/// A temporary folder that goes with its owner.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new one.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written.
    pub fn new() -> Result<Self, Error> {
        mkdtemp(&env::temp_dir().join("socketvirt-bench-XXXXXX"))
            .map(Self)
            .map_err(Error::call("mkdtemp"))
    }

    /// Where `exec` writes its summary.
    #[must_use]
    pub fn summary(&self) -> PathBuf {
        self.0.join("summary.json")
    }

    /// A file for the standard error of a worker.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stderr(&self) -> Result<File, Error> {
        File::create(self.stderr_path()).map_err(Error::io("create a file for standard error"))
    }

    /// What a worker wrote to standard error, on one line.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let text = fs::read_to_string(self.stderr_path()).ok()?;
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Some(lines.join(" ").chars().take(SAID).collect())
    }

    fn stderr_path(&self) -> PathBuf {
        self.0.join("stderr")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _leftover_of_no_harm = fs::remove_dir_all(&self.0);
    }
}
