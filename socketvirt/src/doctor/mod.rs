//! `socketvirt doctor` finds out whether this machine has what the agent
//! needs, and what its kernel does to accelerated sockets.
//!
//! The checks are the agent's own ([`crate::datapath::checks`]), on a data path
//! of their own in a scratch cgroup; nothing of it is left.

mod report;
mod requirements;
mod text;

use socketvirt_common::{
    reason::Reason,
    record::{config::ReceiveMode, layout::KernelLayout},
};

pub use self::{
    report::{Report, SCHEMA},
    requirements::Requirement,
    text::render,
};
use crate::{
    bpf::error::BpfError,
    datapath::{
        checks::{
            Answer, Check, Enrolled, LIST,
            error::CheckError,
            judge::{self, Judgement},
            lab::{self, Lab},
            proofs::{self, Proof},
        },
        home::{Home, HomeError},
        load::DataPath,
        selftest::SelfTestError,
    },
    host::cgroup::CgroupError,
    kernel::{layout, require},
};

/// Live connections could not be examined.
#[derive(Debug, thiserror::Error)]
enum LiveError {
    /// The home of the data path.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The programs and maps.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// The checks.
    #[error(transparent)]
    Checks(#[from] SelfTestError),
}

/// The answers of every check in one receive mode, in the order of the list.
struct Answers {
    mode: ReceiveMode,
    judged: Vec<Judgement>,
}

impl Answers {
    fn pairs(&self) -> impl Iterator<Item = (&Check, &Judgement)> {
        LIST.iter().zip(&self.judged)
    }

    fn defect(&self) -> Option<String> {
        judge::defect(self.pairs())
    }
}

/// The findings from live connections.
#[derive(Default)]
struct Findings {
    modes: Vec<Answers>,
    proofs: Vec<(Reason, Proof)>,
}

impl Findings {
    fn defects(&self) -> Vec<(ReceiveMode, Option<String>)> {
        self.modes
            .iter()
            .map(|answers| (answers.mode, answers.defect()))
            .collect()
    }
}

/// Examines this machine. What cannot be found out is in the report.
#[must_use]
pub fn examine() -> Report {
    let mut requirements = requirements::of_the_machine();
    let mut findings = Findings::default();
    // The first thing that is missing explains the rest.
    if requirements.iter().all(Requirement::is_fulfilled) {
        match layout::kernel_layout() {
            Ok(layout) => {
                requirements.push(Requirement::layout());
                findings =
                    on_live_connections(&layout, &mut requirements).unwrap_or_else(|error| {
                        requirements.push(Requirement::missing("data_path", &error));
                        Findings::default()
                    });
            }
            Err(error) => requirements.push(Requirement::missing("layout", &error)),
        }
    }
    if requirements
        .iter()
        .any(|found| found.name == "btf" && found.met)
    {
        requirements.push(Requirement::table());
    }
    requirements.extend(requirements::of_the_kernel());
    requirements.extend(requirements::of_the_caller());
    report::write(requirements, &findings)
}

/// Loads a data path, attaches it to a scratch cgroup, and runs everything.
fn on_live_connections(
    layout: &KernelLayout,
    requirements: &mut Vec<Requirement>,
) -> Result<Findings, LiveError> {
    let mut home = Home::make("doctor")?;
    let found = in_home(layout, requirements, &home);
    home.take_away()?;
    found
}

fn in_home(
    layout: &KernelLayout,
    requirements: &mut Vec<Requirement>,
    home: &Home,
) -> Result<Findings, LiveError> {
    let folder = home.pins.path();
    let mut datapath = DataPath::load(layout, folder)?;
    requirements.push(Requirement::fulfilled(
        "programs",
        "the verifier accepts every program, with its helpers".into(),
    ));
    datapath.attach(&home.cgroup()?.open()?, folder)?;
    requirements.push(match datapath.watch_splice(layout, folder) {
        Ok(watched) => Requirement::fulfilled("splice_watch", watched.into()),
        Err(error) => Requirement::missing("splice_watch", &error).with_hint(
            "nothing is accelerated without it; use Linux 6.12 or newer on x86-64 or arm64",
        ),
    });
    datapath.watch_receive(folder)?;
    let mut config = datapath.take_config()?;
    let _inside = home.cgroup()?.enter()?;
    let findings = lab::within(&mut datapath, &mut config, folder, every_check)
        .map_err(SelfTestError::from)?;
    Ok(findings)
}

fn every_check(lab: &mut Lab<'_>) -> Result<Findings, CheckError> {
    lab.receive(ReceiveMode::TableOnly)?;
    let plain: Vec<Answer> = LIST.iter().map(|check| lab.answer(check)).collect();
    let mut findings = Findings::default();
    for mode in [ReceiveMode::Unified, ReceiveMode::TxOnly] {
        lab.receive(mode)?;
        let judged = LIST
            .iter()
            .zip(&plain)
            .map(|(check, plain)| judge::judge_beside(check, plain, &accelerated(lab, check)))
            .collect();
        findings.modes.push(Answers { mode, judged });
    }
    let mode = judge::receive_mode(&findings.defects());
    if mode != ReceiveMode::TableOnly && require::iterator_locks_sockets() {
        findings.proofs = proofs::all(lab, mode);
    }
    Ok(findings)
}

/// The answer of an enrolled pair, unless the kernel would not survive it.
fn accelerated(lab: &mut Lab<'_>, check: &Check) -> Answer {
    if check.enrolled == Enrolled::ByScan && !require::iterator_locks_sockets() {
        return Err(CheckError::NotEnrolled(
            "the TCP iterator does not hold the socket's lock, so that adopting would deadlock"
                .into(),
        ));
    }
    lab.answer(check)
}
