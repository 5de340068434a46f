//! The servers of the demo.

use std::fs;

use anyhow::{Context as _, Result};
use test_support::nginx::Nginx;

use super::{redis, stage::Stage, web};

/// Starts them, and waits until they answer.
pub fn start(stage: &mut Stage<'_>) -> Result<()> {
    let redis = redis::server(stage.folder());
    stage.serve(&redis, &redis::answers)?;
    let nginx = nginx(stage)?;
    stage.serve(&nginx, &web::answers)
}

/// Makes what nginx serves; returns its command line.
fn nginx(stage: &Stage<'_>) -> Result<String> {
    let folder = stage.folder();
    let configuration = Nginx {
        folder,
        listen: &web::PORT.to_string(),
        workers: 0,
    }
    .prepare()?;
    fs::write(folder.join("files").join(web::FILE), web::content()).context("writing a file")?;
    Ok(format!("nginx -c {}", configuration.display()))
}
