//! Kernel modules for the machine: the few that tests of namespaces need, as plain files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// With what they need themselves. Which exist, and which are built in, differs from kernel to
/// kernel, so the machine inserts what it gets, again until nothing more goes in.
const NAMES: [&str; 23] = [
    "auth_rpcgss",
    "bridge",
    "crc32c_generic",
    "grace",
    "libcrc32c",
    "llc",
    "lockd",
    "nf_conntrack",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_nat",
    "nf_tables",
    "nfnetlink",
    "nfs_acl",
    "nfsd",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "stp",
    "sunrpc",
    "unix_diag",
    "veth",
];

/// Copies those that this kernel has into `into`, unpacked.
pub fn copy(modules: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("making {}", into.display()))?;
    let mut files = Vec::new();
    collect(&modules.join("kernel"), &mut files);
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let Some((name, packing)) = name.split_once(".ko") else {
            continue;
        };
        if !NAMES.contains(&name) {
            continue;
        }
        let to = into.join(format!("{name}.ko"));
        if packing.is_empty() {
            super::programs::duplicate(&file, &to)
                .with_context(|| format!("copying {}", file.display()))?;
        } else {
            unpack(&file, packing, &to)?;
        }
    }
    Ok(())
}

fn unpack(file: &Path, packing: &str, to: &Path) -> Result<()> {
    let program = match packing {
        ".xz" => "xz",
        ".zst" => "zstd",
        _ => "gzip",
    };
    let out = fs::File::create(to).with_context(|| format!("making {}", to.display()))?;
    let status = Command::new(program)
        .arg("-dc")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(out)
        .status()
        .with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "{program} -dc {} failed", file.display());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
