//! The kernels: which are wanted, which Debian offers, and their files.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    convert::Infallible,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context as _, Result, ensure};
use test_support::command;
use xtask::progress;

use super::{Folder, repositories::Repositories};

/// Small kernels for virtual machines, with all that containers use. Names with two numbers are of
/// packages that are empty.
const PATTERN: &str = "^linux-image-[0-9]+[.][0-9]+[.][0-9].*-cloud-amd64$";

/// The kernel that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest of Debian.
    Newest,
    /// The newest whose version begins so.
    Version(String),
    /// A kernel image or a package.
    File(PathBuf),
}

impl Wanted {
    /// Debian's oldstable, the one that its stable has, and the newest.
    pub fn usual() -> Vec<Self> {
        vec![
            Self::Version("6.1".into()),
            Self::Version("6.12".into()),
            Self::Newest,
        ]
    }
}

impl FromStr for Wanted {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_version = text.starts_with(|first: char| first.is_ascii_digit())
            && text.chars().all(|one| one.is_ascii_digit() || one == '.');
        Ok(match text {
            "newest" => Self::Newest,
            _ if is_version && !Path::new(text).exists() => Self::Version(text.into()),
            _ => Self::File(text.into()),
        })
    }
}

/// A kernel that Debian offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `6.12.95`.
    pub upstream: Vec<u32>,
    package: String,
    /// Debian's own.
    pub version: String,
    /// Packages of the same build that hold the rest of it.
    parts: Vec<String>,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.upstream.iter().map(u32::to_string).collect();
        write!(f, "{:<12} {}", numbers.join("."), self.version)
    }
}

/// A kernel with its files.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Debian's version, or the file's name.
    pub version: String,
    /// Its first two numbers.
    pub upstream: (u32, u32),
    /// The image that boots.
    pub image: PathBuf,
    /// The tree of its modules, where it has one.
    pub modules: Option<PathBuf>,
}

/// Lists Debian's offers, oldest first.
pub fn offers(folder: &Folder, update: bool) -> Result<Vec<Offer>> {
    let repositories = Repositories::open(folder, update)?;
    Ok(parse(&repositories.records(PATTERN)?))
}

/// Downloads and unpacks what is wanted.
pub fn fetch(folder: &Folder, wanted: &[Wanted], update: bool) -> Result<Vec<Kernel>> {
    let mut debian = None;
    let mut kernels = Vec::new();
    for one in wanted {
        if let Wanted::File(file) = one {
            kernels.push(from_file(folder, file)?);
            continue;
        }
        if debian.is_none() {
            let repositories = Repositories::open(folder, update)?;
            let offers = parse(&repositories.records(PATTERN)?);
            debian = Some((repositories, offers));
        }
        let Some((repositories, offers)) = &debian else {
            continue;
        };
        let offer = choose(offers, one)?;
        let mut files = Vec::new();
        for part in [&offer.package].into_iter().chain(&offer.parts) {
            // Of older builds the archive keeps the image alone.
            if part.starts_with("linux-modules-") && !repositories.has(part) {
                progress::note(&format!("Debian has no {part} any more"));
                continue;
            }
            files.push(repositories.download(part, &offer.version)?);
        }
        kernels.push(unpack(folder, &offer.version, &files)?);
    }
    Ok(kernels)
}

/// The best offer; `offers` are sorted.
fn choose<'a>(offers: &'a [Offer], wanted: &Wanted) -> Result<&'a Offer> {
    let found = match wanted {
        Wanted::Version(text) => {
            let numbers = numbers(text);
            offers
                .iter()
                .rfind(|offer| offer.upstream.starts_with(&numbers))
        }
        Wanted::Newest | Wanted::File(_) => offers.last(),
    };
    found.with_context(|| {
        let known: BTreeSet<_> = offers.iter().map(|offer| short(&offer.upstream)).collect();
        let known: Vec<_> = known.into_iter().map(|(a, b)| format!("{a}.{b}")).collect();
        format!(
            "Debian offers no kernel {wanted:?} now; it has {}",
            known.join(", ")
        )
    })
}

fn short(upstream: &[u32]) -> (u32, u32) {
    let number = |at| upstream.get(at).copied().unwrap_or(0);
    (number(0), number(1))
}

/// `6.12.95-1~bpo12+1` is 6, 12, 95, and `vmlinuz-6.12.95+deb12` too.
fn numbers(version: &str) -> Vec<u32> {
    let upstream = version
        .trim_start_matches(|one: char| !one.is_ascii_digit())
        .split(|one: char| !one.is_ascii_digit() && one != '.')
        .next()
        .unwrap_or_default();
    upstream
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

/// The records of `apt-cache show`.
fn parse(records: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = records.split("\n\n").filter_map(offer).collect();
    offers.sort_by(|a, b| match a.upstream.cmp(&b.upstream) {
        Ordering::Equal => a.version.cmp(&b.version),
        other => other,
    });
    offers.dedup();
    offers
}

fn offer(record: &str) -> Option<Offer> {
    let field = |name: &str| {
        let value = |line: &'_ str| {
            line.strip_prefix(name)?
                .strip_prefix(": ")
                .map(str::to_owned)
        };
        record.lines().find_map(value)
    };
    let (package, version) = (field("Package")?, field("Version")?);
    // Since 7.2 the image is in a package of its own, the modules in another.
    let parts = field("Depends")
        .unwrap_or_default()
        .split([',', '|'])
        .filter_map(|one| one.split_whitespace().next().map(str::to_owned))
        .filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"))
        .collect();
    Some(Offer {
        upstream: numbers(&version),
        package,
        version,
        parts,
    })
}

/// The files of packages, in a folder of their own.
fn unpack(folder: &Folder, version: &str, packages: &[PathBuf]) -> Result<Kernel> {
    let root = folder.below("kernels")?.join(version);
    if !root.join("complete").exists() {
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        for package in packages {
            command::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root))?;
        }
        fs::write(root.join("complete"), "").context("noting that all is unpacked")?;
    }
    let modules = ["usr/lib/modules", "lib/modules"]
        .iter()
        .find_map(|place| entries(&root.join(place)).into_iter().next());
    let image = entries(&root.join("boot"))
        .into_iter()
        .find(|path| is_image(path))
        .or_else(|| {
            let image = modules.as_ref()?.join("vmlinuz");
            image.exists().then_some(image)
        })
        .with_context(|| format!("no kernel image in {}", root.display()))?;
    Ok(Kernel {
        version: version.into(),
        upstream: short(&numbers(version)),
        image,
        modules,
    })
}

fn is_image(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("vmlinuz") || name.starts_with("bzImage")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn from_file(folder: &Folder, file: &Path) -> Result<Kernel> {
    ensure!(
        file.is_file(),
        "{} is neither a version nor a file",
        file.display()
    );
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if file.extension().is_some_and(|extension| extension == "deb") {
        return unpack(folder, name.trim_end_matches(".deb"), &[file.to_owned()]);
    }
    let file = fs::canonicalize(file).with_context(|| format!("finding {}", file.display()))?;
    Ok(Kernel {
        upstream: short(&numbers(&name)),
        version: name.into_owned(),
        image: file,
        modules: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &str = "Package: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-2\nDepends: kmod, linux-base (>= 4.3~)\n\n\
        Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1~bpo13+1\nDepends: dracut | initramfs-tools (>= 0.120+deb8u2), \
        linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1)\n\n\
        Package: linux-image-6.12.95+deb12-cloud-amd64\nVersion: 6.12.95-1~bpo12+1\n\n\
        Package: linux-image-6.12.107+deb13-cloud-amd64\nVersion: 6.12.107-1\n";

    #[test]
    fn versions_are_chosen_as_numbers() {
        let offers = parse(RECORDS);
        let chosen = |text: &str| {
            let wanted: Wanted = text.parse().unwrap();
            choose(&offers, &wanted).map(|offer| offer.version.clone())
        };
        assert_eq!(chosen("6.1").unwrap(), "6.1.192-2");
        assert_eq!(chosen("6.12").unwrap(), "6.12.107-1");
        assert_eq!(chosen("6.12.95").unwrap(), "6.12.95-1~bpo12+1");
        assert_eq!(chosen("newest").unwrap(), "7.3.4-1~bpo13+1");
        let unknown = chosen("5.10").unwrap_err().to_string();
        assert!(unknown.contains("6.1, 6.12, 7.3"), "{unknown}");
    }

    #[test]
    fn names_of_files_have_a_version_too() {
        assert_eq!(numbers("vmlinuz-6.18.5+deb13-cloud-amd64"), [6, 18, 5]);
        assert!(numbers("bzImage").is_empty());
    }

    #[test]
    fn a_kernel_in_parts_names_them() {
        let offers = parse(RECORDS);
        assert!(offers[0].parts.is_empty());
        assert_eq!(
            offers.last().unwrap().parts,
            [
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64"
            ]
        );
    }

    #[test]
    fn what_is_no_version_is_a_file() {
        assert_eq!("newest".parse(), Ok(Wanted::Newest));
        assert_eq!("6.12".parse(), Ok(Wanted::Version("6.12".into())));
        assert_eq!(
            "./vmlinuz-6.12".parse(),
            Ok(Wanted::File("./vmlinuz-6.12".into()))
        );
    }
}
