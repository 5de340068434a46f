//! The self-test: which receive mode this kernel gets right.
//!
//! It runs the data path itself on real connections, in a network namespace of
//! its own, with this process in the cgroup that is to be accelerated. What it
//! runs is the part of the list of known differences ([`super::checks`]) on
//! which every enrolled socket depends; `socketvirt doctor` runs all of it.

use std::path::Path;

use socketvirt_common::record::config::ReceiveMode;

use super::{
    checks::{
        LIST,
        error::CheckError,
        judge,
        lab::{self, Lab},
    },
    config::ConfigMap,
    load::DataPath,
};
use crate::kernel::require;

/// The self-test could not be run.
#[derive(Debug, thiserror::Error)]
#[error("the self-test could not be run: {0}")]
pub struct SelfTestError(#[from] CheckError);

/// The mode chosen, and why not a better one.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The best mode that passed.
    pub receive_mode: ReceiveMode,
    /// The modes that failed and their first defect.
    pub defects: Vec<(ReceiveMode, String)>,
}

/// Finds the receive mode and leaves the data path set to it, with the mode
/// of enrolment off. The caller's process must be in the attached cgroup.
///
/// # Errors
/// When the test could not be run; a kernel that fails it is no error.
pub fn choose(
    datapath: &mut DataPath,
    config: &mut ConfigMap,
    folder: &Path,
) -> Result<Outcome, SelfTestError> {
    if !require::iterator_locks_sockets() {
        let defect =
            "before 6.5, enrolling a socket that the TCP iterator shows can deadlock the kernel";
        config
            .change(|config| config.receive_mode = ReceiveMode::TableOnly)
            .map_err(CheckError::from)?;
        return Ok(Outcome {
            receive_mode: ReceiveMode::TableOnly,
            defects: vec![(ReceiveMode::Unified, defect.into())],
        });
    }
    lab::within(datapath, config, folder, |lab| {
        let mut defects = Vec::new();
        for mode in [ReceiveMode::Unified, ReceiveMode::TxOnly] {
            lab.receive(mode)?;
            match first_defect(lab) {
                None => {
                    return Ok(Outcome {
                        receive_mode: mode,
                        defects,
                    });
                }
                Some(defect) => defects.push((mode, defect)),
            }
        }
        lab.receive(ReceiveMode::TableOnly)?;
        Ok(Outcome {
            receive_mode: ReceiveMode::TableOnly,
            defects,
        })
    })
}

/// Runs the checks of a start until one fails: what comes after rests on it.
fn first_defect(lab: &mut Lab<'_>) -> Option<String> {
    LIST.iter()
        .filter(|check| check.concerns_every_socket())
        .find_map(|check| {
            let judgement = judge::judge(check, &lab.answer(check));
            judge::defect([(check, &judgement)])
        })
}
