//! The lock of everything that looks at the whole host, or that an agent of somebody else would disturb.

use std::fs::File;

use anyhow::{Context as _, Result};

/// The locked file.
pub const PATH: &str = "/run/socketvirt-tests.lock";

/// Waits until nothing else needs the host, and keeps it until the file is closed.
pub fn whole_host() -> Result<File> {
    let lock = File::create(PATH).with_context(|| format!("opening {PATH}"))?;
    lock.lock().with_context(|| format!("locking {PATH}"))?;
    Ok(lock)
}
