//! The .deb and the .rpm, whose contents `socketvirt/Cargo.toml` lists.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use test_support::command;
use xtask::{progress, workspace};

use crate::{completions, man, output, source::Source};

/// The licences that Debian has on every machine, and what they are for.
const LICENCES: &str = "\
The programs in user space are MIT OR Apache-2.0, at your choice. On Debian, Apache-2.0 is in
/usr/share/common-licenses/Apache-2.0. The agent links btf-rs, which is LGPL-2.1-or-later
(/usr/share/common-licenses/LGPL-2.1).

The BPF programs, which are inside the binary, are GPL-2.0-only
(/usr/share/common-licenses/GPL-2).

MIT:

";

/// Where the lists of contents look for what is made: cargo's commands find `target/release`
/// wherever it is.
fn staged() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("release").join("package"))
}

/// Makes man pages, completions and what Debian wants to have. Returns where they are.
pub fn stage(source: &Source) -> Result<Vec<PathBuf>> {
    progress::step("package: man pages and completions");
    let folder = staged()?;
    if folder.exists() {
        // A command that is gone must not keep its page.
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let (pages, completed) = (folder.join("man"), folder.join("completions"));
    let count = man::write(&pages)?.len() + completions::write(&completed)?.len();
    progress::note(&format!("{count} files in {}", folder.display()));
    write(&folder.join("copyright"), &copyright()?)?;
    write(&folder.join("changelog"), &changelog(source)?)?;
    Ok(vec![pages, completed])
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn copyright() -> Result<String> {
    let path = workspace::root().join("LICENSE-MIT");
    let mit = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(format!("{LICENCES}{mit}"))
}

/// Debian's own form; what has changed is in the project's.
fn changelog(source: &Source) -> Result<String> {
    let (version, date) = (env!("CARGO_PKG_VERSION"), source.date()?);
    Ok(format!(
        "socketvirt ({version}-1) unstable; urgency=medium\n\n  \
         * Packaged by `cargo xtask package`.\n\n \
         -- socketvirt contributors <contributors@socketvirt.invalid>  {date}\n"
    ))
}

/// Makes the .deb of a binary that is stripped.
pub fn deb(source: &Source) -> Result<PathBuf> {
    progress::step("package: .deb");
    let mut command = source.command(workspace::cargo());
    command.args([
        "deb",
        "--package=socketvirt",
        "--no-build",
        "--no-strip",
        "--output",
    ]);
    made(&mut command, "deb")
}

/// Makes the .rpm of a binary that is stripped.
pub fn rpm(source: &Source) -> Result<PathBuf> {
    progress::step("package: .rpm");
    let mut command = source.command(workspace::cargo());
    command
        .args(["generate-rpm", "--package=socketvirt"])
        .arg(format!("--source-date={}", source.time))
        .arg("--output");
    made(&mut command, "rpm")
}

/// Puts the binary, without symbols for debugging, where both look for it.
pub fn strip() -> Result<()> {
    let path = staged()?.join("socketvirt");
    command::run(
        Command::new("strip")
            .args(["--strip-unneeded", "--remove-section=.comment", "-o"])
            .arg(&path)
            .arg(workspace::binary()?),
    )
}

/// Runs a command whose last argument is the folder to write to.
fn made(command: &mut Command, kind: &str) -> Result<PathBuf> {
    let folder = output()?.join(kind);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    command::run(command.arg(&folder))?;
    let mut files = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == kind));
    let file = files.next();
    ensure!(
        files.next().is_none(),
        "several packages in {}",
        folder.display()
    );
    file.with_context(|| format!("`{}` made no .{kind}", command::line(command)))
}
