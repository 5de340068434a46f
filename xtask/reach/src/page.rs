//! `docs/reach.md`, which has the table of the last run that was told to write it.

use std::fs;

use anyhow::{Context as _, Result};
use xtask::{pages, progress, workspace};

use super::report::Report;

/// Its place in the workspace.
const PAGE: &str = "docs/reach.md";

/// The name of the generated part.
const PART: &str = "reach";

pub fn write(report: &Report) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let old = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let new = pages::replaced(&old, PART, &report.markdown())
        .with_context(|| format!("in {}", path.display()))?;
    fs::write(&path, new).with_context(|| format!("writing {}", path.display()))?;
    progress::note(&format!("{PAGE} is written"));
    Ok(())
}
