//! The file of `exec --summary`.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::fcntl::{FallocateFlags, fallocate};

use crate::session::summary::Summary;

/// More than any summary takes.
const ROOM: i64 = 8192;

/// A file that is there from the start, so that what the command does to the
/// disk or to its own folder meanwhile keeps no summary from being written.
#[derive(Debug)]
pub struct SummaryFile {
    path: PathBuf,
    file: File,
}

impl SummaryFile {
    /// Makes it, empty, with room on the disk.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path)
            .with_context(|| format!("creating the summary {} failed", path.display()))?;
        // Not every file system can: then the disk must not fill up.
        let _ = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, ROOM);
        Ok(Self {
            // The agent never changes its folder, but nothing else says so.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            file,
        })
    }

    /// Writes the summary.
    pub fn write(mut self, summary: &Summary) -> Result<()> {
        let json = serde_json::to_string_pretty(summary)
            .context("putting the summary into JSON failed")?
            + "\n";
        let length = json.len() as u64;
        let written = if self.is_in_place() {
            self.file.write_all(json.as_bytes())
        } else {
            // The command has taken the file away, or put another in its place.
            fs::write(&self.path, json)
        };
        written.with_context(|| format!("writing the summary {} failed", self.path.display()))?;
        // Gives the rest of the room back; a pipe has none.
        let _ = self.file.set_len(length);
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        let same = || {
            let (here, there) = (self.file.metadata().ok()?, fs::metadata(&self.path).ok()?);
            Some(here.dev() == there.dev() && here.ino() == there.ino())
        };
        same().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use socketvirt_common::record::{config::Mode, stats::Stats};

    use super::*;
    use crate::session::effective::Effective;

    fn summary() -> Summary {
        Summary::new(&Effective::new(Mode::Adopt), &Stats::default())
    }

    #[test]
    fn is_written_where_the_command_has_taken_it_away() {
        let folder = std::env::temp_dir().join(format!("socketvirt-sum-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("summary.json");
        for meanwhile in [|_: &Path| (), |path: &Path| fs::remove_file(path).unwrap()] {
            let file = SummaryFile::create(&path).unwrap();
            meanwhile(&path);
            file.write(&summary()).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["mode"], "adopt");
            assert!(text.ends_with("}\n"));
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_device_will_do() {
        let file = SummaryFile::create(Path::new("/dev/null")).unwrap();
        file.write(&summary()).unwrap();
        let full = SummaryFile::create(Path::new("/dev/full")).unwrap();
        assert!(full.write(&summary()).is_err());
    }
}
