//! Names and the rules that they do not rule out.

use std::collections::HashMap;

use socketvirt_common::record::policy::Set;

use super::{
    compile::set_where,
    file::{Policy, Rule},
};
use crate::host::cgroup_paths;

/// The cgroups of the host, with their paths.
#[must_use]
pub fn cgroups() -> HashMap<u64, String> {
    cgroup_paths::paths()
}

/// Returns the rules that a cgroup does not rule out. One that is gone matches no
/// path.
#[must_use]
pub fn of_cgroup(policy: &Policy, path: Option<&str>) -> Set {
    let path = path.unwrap_or_default();
    let is = |rule: &Rule| {
        rule.cgroup
            .as_ref()
            .is_none_or(|many| many.any(|one| one.has(path)))
            && rule
                .unit
                .as_ref()
                .is_none_or(|many| many.any(|one| one.has(path)))
            && rule
                .pod
                .as_ref()
                .is_none_or(|many| many.any(|one| one.has(path)))
            && rule
                .container
                .as_ref()
                .is_none_or(|many| many.any(|one| one.has(path)))
    };
    set_where(&policy.rules, is)
}

/// Returns the rules that an executable does not rule out.
#[must_use]
pub fn of_executable(policy: &Policy, path: &str) -> Set {
    let is = |rule: &Rule| {
        rule.executable
            .as_ref()
            .is_none_or(|many| many.any(|one| one.has(path)))
    };
    set_where(&policy.rules, is)
}
