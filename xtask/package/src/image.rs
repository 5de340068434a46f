//! The OCI image: one layer with one static binary, written without a daemon.
//!
//! The binary has the C library inside (`crt-static`), so that nothing else is in the image. Paths of
//! this machine are taken out of its code. Those in the line information of the BPF objects stay: the same
//! commit makes the same image in the same folder alone.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, GzBuilder};
use oci_spec::image::{
    ANNOTATION_REF_NAME, Arch, ConfigBuilder, Descriptor, DescriptorBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, Os,
    RootFsBuilder, Sha256Digest,
};
use sha2::{Digest as _, Sha256};
use test_support::command;
use xtask::{
    progress,
    setup::{self, Purpose},
    workspace,
};

use crate::{output, source::Source};

/// The configuration, as the package has it: nothing is accelerated until told.
const CONFIG: &str = "etc/socketvirt/socketvirt.toml";

/// Folders that are mounted over.
const FOLDERS: [&str; 9] = [
    "dev/",
    "etc/",
    "etc/socketvirt/",
    "proc/",
    "run/",
    "sys/",
    "tmp/",
    "usr/",
    "usr/bin/",
];

/// Builds the binary and writes the image, as a folder in the layout of the OCI.
pub fn make(source: &Source) -> Result<PathBuf> {
    setup::run(Purpose::Build)?;
    let binary = static_binary()?;
    progress::step("package: image");
    let folder = output()?.join("image");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let config = fs::read(workspace::root().join("deploy/socketvirt.toml"))?;
    let files = [
        (CONFIG, 0o644, config),
        ("usr/bin/socketvirt", 0o755, fs::read(&binary)?),
    ];
    write(&folder, &layer(&files, source.time)?)?;
    Ok(folder)
}

/// The target that this machine is.
fn target() -> Result<String> {
    let version = command::output(
        Command::new("rustc")
            .arg("-vV")
            .current_dir(workspace::root()),
    )?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

/// Builds it in a folder of its own: with other flags, cargo would build everything anew each time.
fn static_binary() -> Result<PathBuf> {
    progress::step("package: static build");
    let (target, folder) = (target()?, workspace::target_dir()?.join("static"));
    let home = env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Cstrip=symbols".to_owned(),
        format!(
            "--remap-path-prefix={}=/socketvirt",
            workspace::root().display()
        ),
        format!("--remap-path-prefix={}=/cargo", home.display()),
    ];
    // For this target alone: build scripts, and the BPF objects that they build, stay as they are.
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        target.to_uppercase().replace('-', "_")
    );
    command::run(
        workspace::cargo()
            .args([
                "build",
                "--release",
                "--package=socketvirt",
                "--target",
                &target,
                "--target-dir",
            ])
            .arg(&folder)
            .env(variable, flags.join(" ")),
    )?;
    let binary = folder.join(target).join("release").join("socketvirt");
    let needed = command::output(Command::new("readelf").arg("-d").arg(&binary))?;
    ensure!(
        !needed.contains("(NEEDED)"),
        "{} is not static:\n{needed}",
        binary.display()
    );
    Ok(binary)
}

/// Returns an archive of folders and files, of root, all of the same time.
fn layer(files: &[(&str, u32, Vec<u8>)], time: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        header.set_size(size);
        header
    };
    for folder in FOLDERS {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        archive.append_data(&mut header, folder, &[][..])?;
    }
    for (path, mode, bytes) in files {
        let mut header = header(tar::EntryType::Regular, *mode, bytes.len() as u64);
        archive.append_data(&mut header, path, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

/// Writes the image around its layer.
fn write(folder: &Path, layer: &[u8]) -> Result<()> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(layer)?;
    let layer_blob = blob(folder, MediaType::ImageLayerGzip, &packed.finish()?)?;
    let config = ImageConfigurationBuilder::default()
        .architecture(Arch::default())
        .os(Os::Linux)
        .config(
            ConfigBuilder::default()
                .entrypoint(["/usr/bin/socketvirt".to_owned()])
                .cmd(["run", "--config", "/etc/socketvirt/socketvirt.toml"].map(str::to_owned))
                .build()?,
        )
        .rootfs(
            RootFsBuilder::default()
                .typ("layers".to_owned())
                .diff_ids([format!("sha256:{}", hex(layer))])
                .build()?,
        )
        .build()?;
    let config = blob(
        folder,
        MediaType::ImageConfig,
        &serde_json::to_vec(&config)?,
    )?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers([layer_blob])
        .build()?;
    let mut manifest = blob(
        folder,
        MediaType::ImageManifest,
        &serde_json::to_vec(&manifest)?,
    )?;
    let name = (
        ANNOTATION_REF_NAME.to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    );
    manifest.set_annotations(Some([name].into()));
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests([manifest])
        .build()?;
    fs::write(folder.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    Ok(())
}

/// Writes bytes under their hash.
fn blob(folder: &Path, kind: MediaType, bytes: &[u8]) -> Result<Descriptor> {
    let (blobs, hash) = (folder.join("blobs/sha256"), hex(bytes));
    fs::create_dir_all(&blobs).with_context(|| format!("making {}", blobs.display()))?;
    fs::write(blobs.join(&hash), bytes)?;
    let digest: Sha256Digest = hash.parse()?;
    Ok(DescriptorBuilder::default()
        .media_type(kind)
        .digest(digest)
        .size(bytes.len() as u64)
        .build()?)
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use oci_spec::image::{ImageIndex, ImageManifest};

    use super::*;

    #[test]
    fn the_same_files_make_the_same_image() {
        let made = || {
            let folder = tempfile::tempdir().unwrap();
            let files = [("usr/bin/socketvirt", 0o755, b"program".to_vec())];
            write(folder.path(), &layer(&files, 7).unwrap()).unwrap();
            fs::read(folder.path().join("index.json")).unwrap()
        };
        assert_eq!(made(), made());
    }

    #[test]
    fn an_image_names_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("usr/bin/socketvirt", 0o755, b"program".to_vec())];
        write(folder.path(), &layer(&files, 7).unwrap()).unwrap();
        let index = ImageIndex::from_file(folder.path().join("index.json")).unwrap();
        let path = |digest: &str| folder.path().join("blobs").join(digest.replace(':', "/"));
        let manifest = path(index.manifests()[0].digest().as_ref());
        let manifest = ImageManifest::from_file(manifest).unwrap();
        let layer = fs::read(path(manifest.layers()[0].digest().as_ref())).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.as_slice()));
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(
            names.contains(&"usr/bin/socketvirt".to_owned()),
            "{names:?}"
        );
    }
}
