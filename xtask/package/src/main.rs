//! `cargo xtask package`: a .deb, a .rpm and an OCI image, with man pages and completions made on the way.
//!
//! All of it is made of the commit alone: the time in every file is that of the commit, or that of
//! `SOURCE_DATE_EPOCH`.

mod completions;
mod image;
mod man;
mod packages;
mod source;
mod trial;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use xtask::{build, progress, tool, workspace};

/// Make packages, an image, man pages and completions in target/package.
#[derive(Parser)]
#[command(name = "cargo xtask package", bin_name = "cargo xtask package")]
struct Arguments {
    /// What is made; all of it without
    #[arg(value_enum)]
    kinds: Vec<Kind>,
    /// Try the .deb: install, start, kill, upgrade and remove it on a system of its own
    #[arg(long = "try")]
    try_it: bool,
}

/// Something that is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// Man pages and completions, which the packages have, too
    Pages,
    /// A package for Debian and Ubuntu
    Deb,
    /// A package for Fedora and its relatives
    Rpm,
    /// An OCI image of one static binary
    Image,
}

/// Where everything is put.
fn output() -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("package");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

fn main() -> ExitCode {
    progress::ended(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |kind| match &arguments.kinds[..] {
        [] => !arguments.try_it || kind == Kind::Deb,
        kinds => kinds.contains(&kind) || arguments.try_it && kind == Kind::Deb,
    };
    let source = source::Source::of_commit()?;
    let mut made = packages::stage(&source)?;
    if wanted(Kind::Deb) || wanted(Kind::Rpm) {
        build::run()?;
        packages::strip()?;
    }
    if wanted(Kind::Deb) {
        tool::ensure(&tool::DEB)?;
        let package = packages::deb(&source)?;
        if arguments.try_it {
            trial::run(&package)?;
        }
        made.push(package);
    }
    if wanted(Kind::Rpm) {
        tool::ensure(&tool::RPM)?;
        made.push(packages::rpm(&source)?);
    }
    if wanted(Kind::Image) {
        made.push(image::make(&source)?);
    }
    for path in made {
        println!("{}", path.display());
    }
    Ok(())
}
