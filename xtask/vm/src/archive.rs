//! The initramfs: a tree of files, packed by cpio.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Folder,
    kernels::Kernel,
    modules,
    programs::{self, Programs},
};

/// The first program of the machine.
const INIT: &str = include_str!("../data/init.sh");

const FOLDERS: [&str; 9] = [
    "bin", "dev", "etc", "modules", "proc", "run", "sys", "tmp", "var",
];

/// Makes the initramfs of one kernel.
pub fn make(folder: &Folder, kernel: &Kernel, programs: &Programs) -> Result<PathBuf> {
    let root = folder.below("root")?;
    // Files of an earlier run.
    fs::remove_dir_all(&root).with_context(|| format!("clearing {}", root.display()))?;
    for name in FOLDERS {
        let path = root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    for (inside, file) in programs {
        let to = root.join(inside.strip_prefix("/").unwrap_or(inside));
        let parent = to.parent().unwrap_or(&root);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        programs::copy(file, &to)?;
    }
    if let Some(from) = &kernel.modules {
        modules::copy(from, &root.join("modules"))?;
    }
    write(&root, "etc/passwd", "root:x:0:0:root:/:/bin/sh\n")?;
    write(&root, "etc/group", "root:x:0:\n")?;
    write(&root, "init", INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))
        .context("making init executable")?;
    let archive = folder.0.join("initramfs.cpio");
    pack(&root, &archive)?;
    Ok(archive)
}

fn write(root: &Path, name: &str, text: &str) -> Result<()> {
    let path = root.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn pack(root: &Path, archive: &Path) -> Result<()> {
    let out = fs::File::create(archive).with_context(|| format!("making {}", archive.display()))?;
    let status = Command::new("sh")
        .args([
            "-c",
            "find . -print0 | cpio --null --create --format=newc --owner=+0:+0 --quiet",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(out)
        .status()
        .context("starting cpio")?;
    ensure!(status.success(), "packing {} failed", archive.display());
    Ok(())
}
