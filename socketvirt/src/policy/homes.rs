//! The home whose policy a command is about.

use std::path::PathBuf;

use crate::host::bpffs::{PinDir, PinError};

/// There is not one home to choose.
#[derive(Debug, thiserror::Error)]
pub enum NoHome {
    /// None at all.
    #[error(
        "no data path of this host has a policy; start the agent with `socketvirt run --config FILE`"
    )]
    None,
    /// Several.
    #[error("several agents run; choose one with `--home`: {}", .0.join(", "))]
    Several(Vec<String>),
    /// None of this name.
    #[error("no data path has the name {name}; there are: {}", .there.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// They could not be listed.
    #[error(transparent)]
    Pins(#[from] PinError),
}

/// Finds the folder of the home with this name, or of the only one that an agent of
/// the host (`run`) has made.
///
/// # Errors
/// When there is not exactly one.
pub fn find(name: Option<&str>) -> Result<PathBuf, NoHome> {
    let homes: Vec<PinDir> = PinDir::existing()?
        .into_iter()
        .filter(|pins| pins.is_complete() && pins.path().join("sv_policy").exists())
        .collect();
    let names = |homes: &[&PinDir]| homes.iter().map(|pins| pins.name().to_owned()).collect();
    let all: Vec<&PinDir> = homes.iter().collect();
    if let Some(name) = name {
        let found = all.iter().find(|pins| pins.name() == name);
        return found
            .map(|pins| pins.path().to_owned())
            .ok_or_else(|| NoHome::Unknown {
                name: name.to_owned(),
                there: names(&all),
            });
    }
    let hosts: Vec<&PinDir> = all
        .into_iter()
        .filter(|pins| {
            !["exec-", "old-"]
                .iter()
                .any(|kind| pins.name().starts_with(kind))
        })
        .collect();
    let living: Vec<&PinDir> = hosts
        .iter()
        .copied()
        .filter(|pins| pins.owner_alive())
        .collect();
    // What a killed agent has left counts when nothing else is there.
    let chosen = if living.is_empty() { hosts } else { living };
    match chosen.as_slice() {
        [] => Err(NoHome::None),
        [one] => Ok(one.path().to_owned()),
        several => Err(NoHome::Several(names(several))),
    }
}
