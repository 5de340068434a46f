//! Debian's package lists, in a folder of their own: the machine's apt is not touched.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use test_support::command;
use xtask::progress;

use super::Folder;

const MIRROR: &str = "http://deb.debian.org/debian";

/// Where kernels of all ages are: oldstable, its backports, stable, its backports, unstable.
const SUITES: [(&str, &str); 6] = [
    (MIRROR, "bookworm"),
    ("http://deb.debian.org/debian-security", "bookworm-security"),
    (MIRROR, "bookworm-backports"),
    (MIRROR, "trixie"),
    (MIRROR, "trixie-backports"),
    (MIRROR, "sid"),
];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lists that are younger are not asked for again.
const FRESH: Duration = Duration::from_hours(24);

/// apt with lists and downloads below one folder.
pub struct Repositories {
    folder: PathBuf,
}

impl Repositories {
    /// Gets the lists where they are missing or old.
    pub fn open(folder: &Folder, update: bool) -> Result<Self> {
        let folder = folder.below("apt")?;
        let repositories = Self { folder };
        repositories.write_sources()?;
        let stamp = repositories.folder.join("updated");
        if update || !is_fresh(&stamp) {
            progress::step("vm: package lists of Debian, in target/vm");
            command::run(repositories.apt("apt-get").args(["-q", "update"]))?;
            fs::write(&stamp, "").context("noting the update")?;
        }
        Ok(repositories)
    }

    fn write_sources(&self) -> Result<()> {
        ensure!(
            Path::new(KEYRING).exists(),
            "{KEYRING} is missing, with which Debian's packages are checked: install \
             debian-archive-keyring"
        );
        for name in ["lists/partial", "cache/archives/partial"] {
            let path = self.folder.join(name);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        let mut sources = String::new();
        for (mirror, suite) in SUITES {
            let _ = writeln!(sources, "deb [signed-by={KEYRING}] {mirror} {suite} main");
        }
        fs::write(self.folder.join("sources.list"), sources).context("writing sources.list")
    }

    /// A tool of apt that knows these lists alone.
    fn apt(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        let below = |name: &str| self.folder.join(name).display().to_string();
        for setting in [
            format!("Dir::Etc::sourcelist={}", below("sources.list")),
            String::from("Dir::Etc::sourceparts=-"),
            // Pins of the machine are for what is installed on it.
            String::from("Dir::Etc::preferences=/dev/null"),
            String::from("Dir::Etc::preferencesparts=/dev/null"),
            format!("Dir::State::lists={}", below("lists")),
            format!("Dir::Cache={}", below("cache")),
            String::from("Acquire::Languages=none"),
            String::from("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"),
            String::from("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false"),
            String::from("Acquire::Retries=3"),
            // Its own user may not write below target/.
            String::from("APT::Sandbox::User=root"),
        ] {
            command.arg("-o").arg(setting);
        }
        command.current_dir(&self.folder);
        command
    }

    /// The records of all packages with such names, as apt prints them.
    pub fn records(&self, pattern: &str) -> Result<String> {
        let names =
            command::output(
                self.apt("apt-cache")
                    .args(["search", "--names-only", pattern]),
            )?;
        let names: Vec<_> = names
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        ensure!(
            !names.is_empty(),
            "Debian's lists have no package {pattern}; try again with --update"
        );
        command::output(self.apt("apt-cache").arg("show").args(names))
    }

    /// True when a package of this name can be downloaded.
    pub fn has(&self, package: &str) -> bool {
        command::answer(self.apt("apt-cache").args(["show", package]))
            .is_some_and(|records| !records.is_empty())
    }

    /// Downloads a package that is not there yet; apt checks its signature.
    pub fn download(&self, package: &str, version: &str) -> Result<PathBuf> {
        let packages = self.folder.join("cache/archives");
        // As apt names them.
        let file = packages.join(format!(
            "{package}_{}_amd64.deb",
            version.replace(':', "%3a")
        ));
        if file.exists() {
            return Ok(file);
        }
        progress::note(&format!("downloading {package} {version}"));
        command::run(
            self.apt("apt-get")
                .args(["-q", "download"])
                .arg(format!("{package}={version}"))
                .current_dir(&packages),
        )?;
        ensure!(file.exists(), "apt-get download left no {}", file.display());
        Ok(file)
    }
}

fn is_fresh(stamp: &Path) -> bool {
    fs::metadata(stamp)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|then| {
            SystemTime::now()
                .duration_since(then)
                .is_ok_and(|age| age < FRESH)
        })
}
