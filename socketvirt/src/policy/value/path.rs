//! Cgroups and executables, by their paths, and what the path of a cgroup tells.

use glob::{MatchOptions, Pattern};

use super::Value;

/// How wildcards match: `*` stays within one part of a path.
const WILDCARDS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A path with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Pattern);

impl Glob {
    fn of(text: &str, what: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` does not begin with `/`, expected {what}"));
        }
        let text = text.trim_end_matches('/');
        Pattern::new(text)
            .map(Self)
            .map_err(|error| format!("`{text}` has a bad wildcard: {error}"))
    }

    fn is(&self, path: &str) -> bool {
        self.0.matches_with(path, WILDCARDS)
    }
}

/// A cgroup, and those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups(Glob);

impl Cgroups {
    /// True for the path of such a cgroup.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let ends = path
            .match_indices('/')
            .map(|(end, _)| end)
            .chain([path.len()]);
        ends.into_iter().any(|end| self.0.is(&path[..end]))
    }
}

impl Value for Cgroups {
    const EXPECTS: &str =
        "the path of a cgroup, with wildcards, such as \"/system.slice/postgresql*.service\"";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        Glob::of(text, Self::EXPECTS).map(Self)
    }
}

/// Executables, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executables(Glob);

impl Executables {
    /// True for the path of such an executable.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.0.is(path)
    }
}

impl Value for Executables {
    const EXPECTS: &str =
        "the path of an executable, with wildcards, such as \"/usr/lib/postgresql/*/bin/postgres\"";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        Glob::of(text, Self::EXPECTS).map(Self)
    }
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit(Pattern);

impl Unit {
    /// True for the path of a cgroup of it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        path.split('/').any(|part| self.0.matches(part))
    }
}

impl Value for Unit {
    const EXPECTS: &str = "the name of a unit, with wildcards, such as \"postgresql@*.service\" \
                           (\".service\" may be left out)";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('/') {
            return Err(format!("`{text}` is no unit, expected {}", Self::EXPECTS));
        }
        let full = if text.contains('.') {
            text.to_owned()
        } else {
            format!("{text}.service")
        };
        Pattern::new(&full)
            .map(Self)
            .map_err(|error| format!("`{text}` has a bad wildcard: {error}"))
    }
}

/// A pod of Kubernetes, by its uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod(String);

impl Pod {
    /// True for the path of a cgroup of it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        // `kubepods-burstable-pod<uid>.slice`, its dashes written as `_`, or `pod<uid>`.
        path.split('/').any(|part| {
            let part = part.strip_suffix(".slice").unwrap_or(part);
            let uid = part
                .rsplit_once("pod")
                .map(|(_, uid)| uid.replace('_', "-"));
            uid.is_some_and(|uid| uid == self.0)
        })
    }
}

impl Value for Pod {
    const EXPECTS: &str = "the uid of a pod (`kubectl get pod NAME -o jsonpath={.metadata.uid}`)";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        let is_uid = |c: char| c.is_ascii_hexdigit() || c == '-';
        if text.len() < 8 || !text.chars().all(is_uid) {
            return Err(format!("`{text}` is no uid, expected {}", Self::EXPECTS));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// A container, by the beginning of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container(String);

impl Container {
    /// True for the path of a cgroup of it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        // `docker-<id>.scope`, `cri-containerd-<id>.scope`, or the id alone.
        path.split('/').any(|part| {
            let part = part.strip_suffix(".scope").unwrap_or(part);
            let id = part.rsplit_once('-').map_or(part, |(_, id)| id);
            id.len() == 64 && id.starts_with(&self.0)
        })
    }
}

impl Value for Container {
    const EXPECTS: &str = "the id of a container, or its first 12 digits or more (`docker ps`)";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        let is_id = text.chars().all(|c| c.is_ascii_hexdigit());
        if !is_id || !(12..=64).contains(&text.len()) {
            return Err(format!("`{text}` is no id, expected {}", Self::EXPECTS));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}
