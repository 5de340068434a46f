//! What is measured, as the options select it, and on which CPUs.

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

use super::{
    error::Error,
    plan::{GROUPS, Group},
    scale::SCALE,
};

/// The groups that `--only` names; all of them when it names none.
pub fn select(only: &[String]) -> Result<Vec<&'static Group>, Error> {
    let known = || {
        GROUPS
            .iter()
            .map(|group| group.name)
            .chain([SCALE])
            .collect::<Vec<_>>()
            .join(", ")
    };
    for name in only {
        if name != SCALE && GROUPS.iter().all(|group| group.name != name) {
            return Err(Error::UnknownGroup {
                name: name.clone(),
                known: known(),
            });
        }
    }
    let wanted = |group: &&Group| wanted(only, group.name);
    Ok(GROUPS.iter().filter(wanted).collect())
}

/// True when the options select it.
pub fn wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|one| one == name)
}

pub fn allowed_cpus() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(Error::call("sched_getaffinity"))?;
    Ok((0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or_default())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_selects_by_name_and_refuses_what_it_does_not_know() {
        let all = select(&[]).expect("no name selects all");
        assert_eq!(all.len(), GROUPS.len());
        let one = select(&["stream".to_owned()]).expect("a known name");
        assert_eq!(
            one.iter().map(|group| group.name).collect::<Vec<_>>(),
            ["stream"]
        );
        let error = select(&["strem".to_owned()]).expect_err("an unknown name");
        assert!(error.to_string().contains("stream"), "{error}");
    }
}
