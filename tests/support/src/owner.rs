//! The process that made something, whose id is in its name.

use std::path::Path;

/// The process of a name that ends in `<pid>-<start time>`, as the agent's pins and cgroups do.
pub fn of_agent(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.rsplit('-').nth(1)?.parse().ok()
}

/// The process of a name that begins with `prefix` and then has its id, and maybe more behind a `-`.
pub fn after(prefix: &str, name: &str) -> Option<u32> {
    let rest = name.strip_prefix(prefix)?;
    rest.split('-').next()?.parse().ok()
}

/// True while the process exists, also when it has ended and nobody has waited for it.
pub fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_from_names() {
        assert_eq!(of_agent(Path::new("/x/socketvirt-exec-7-123")), Some(7));
        assert_eq!(of_agent(Path::new("/x/socketvirt")), None);
        assert_eq!(after("svt-soak-", "svt-soak-12-3-a"), Some(12));
        assert_eq!(after("svt-soak-", "svt-soak-12"), Some(12));
        assert_eq!(after("svt-soak-", "other-12"), None);
        assert!(lives(std::process::id()));
    }
}
