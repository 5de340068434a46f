//! Where checks run: connections within a network namespace of their own, by a
//! process in the cgroup that the data path is attached to.

use std::{io, path::Path, thread};

use nix::sched::{CloneFlags, unshare};
use socketvirt_common::record::config::{Mode, ReceiveMode};

use super::{Answer, Check, Enrolled, error::CheckError, pair::Pair, sockets};
use crate::datapath::{config::ConfigMap, load::DataPath, tiers::Tiers};

/// Runs `work` in a thread and network namespace of its own, with a lab. The
/// caller's process must be in the cgroup that `datapath` is attached to.
///
/// # Errors
/// When there is no such namespace, or what `work` returns.
pub fn within<R, E>(
    datapath: &mut DataPath,
    config: &mut ConfigMap,
    folder: &Path,
    work: impl FnOnce(&mut Lab<'_>) -> Result<R, E> + Send,
) -> Result<R, E>
where
    R: Send,
    E: From<CheckError> + Send,
{
    // A thread, because a namespace is entered by a thread for good.
    thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(io::Error::from)
                    .map_err(CheckError::setup("make a network namespace"))?;
                sockets::loopback_up().map_err(CheckError::setup("bring up its loopback"))?;
                let mut lab = Lab {
                    datapath,
                    config,
                    tiers: Tiers::open(folder).map_err(CheckError::from)?,
                    receive_mode: ReceiveMode::TableOnly,
                };
                let done = work(&mut lab);
                lab.finish()?;
                done
            })
            .join()
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    })
}

/// Times that a script is begun anew whose message was left on the stack: when
/// the machine stood still meanwhile, it was a heartbeat
/// ([`HEARTBEAT`](socketvirt_common::rule::path::HEARTBEAT)).
const ATTEMPTS: u32 = 3;

/// The data path in the hands of the checks.
pub struct Lab<'a> {
    datapath: &'a mut DataPath,
    config: &'a mut ConfigMap,
    tiers: Tiers,
    receive_mode: ReceiveMode,
}

impl Lab<'_> {
    /// Sets how sockets that are enrolled from now on receive.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn receive(&mut self, mode: ReceiveMode) -> Result<(), CheckError> {
        let unified = mode == ReceiveMode::Unified;
        if unified != (self.receive_mode == ReceiveMode::Unified) {
            self.datapath.unify(unified)?;
        }
        self.receive_mode = mode;
        Ok(self.config.change(|config| config.receive_mode = mode)?)
    }

    /// Returns a check's answer on a pair that is enrolled in the receive mode
    /// that is set; on a plain pair when that is table-only.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn answer(&mut self, check: &Check) -> Answer {
        let mode = match (self.receive_mode, check.enrolled) {
            (ReceiveMode::TableOnly, _) => Mode::Off,
            (_, Enrolled::Eagerly) => Mode::Eager,
            (_, Enrolled::ByScan) => Mode::Adopt,
        };
        for _ in 1..ATTEMPTS {
            let answer = (check.script)(&mut self.pair(mode)?);
            if !matches!(answer, Err(CheckError::NotRedirected)) {
                return answer;
            }
        }
        (check.script)(&mut self.pair(mode)?)
    }

    /// A connection whose handshake falls into a mode of enrolment.
    pub(super) fn pair(&mut self, mode: Mode) -> Result<Pair<'_>, CheckError> {
        // Habits that a script showed on purpose say nothing of the next one, which
        // may be given the same port.
        self.datapath.forget_habits()?;
        self.config.change(|config| {
            config.mode = mode;
            config.memory_pressure = 0;
        })?;
        Pair::open(mode, self.datapath, self.config, &mut self.tiers)
    }

    /// Leaves everything as it was found: nothing is enrolled or remembered.
    fn finish(&mut self) -> Result<(), CheckError> {
        self.datapath.forget_habits()?;
        // Its connections have ended, and are watched no more.
        self.tiers.look()?;
        self.tiers.sweep()?;
        Ok(self.config.change(|config| {
            config.mode = Mode::Off;
            config.memory_pressure = 0;
        })?)
    }
}
