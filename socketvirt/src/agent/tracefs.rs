//! tracefs, where the kernel numbers its trace points.

use std::{io, path::Path};

use nix::mount::{MsFlags, mount};

/// Where tracefs is mounted by everybody.
const USUAL: &str = "/sys/kernel/tracing";

/// Mounts tracefs when it is not mounted.
///
/// # Errors
/// What the kernel answered.
pub fn mounted() -> io::Result<()> {
    if Path::new(USUAL).join("events").exists() {
        return Ok(());
    }
    mount(
        Some("tracefs"),
        USUAL,
        Some("tracefs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        None::<&str>,
    )
    .map_err(io::Error::from)
}
