//! The report, whose JSON form is an interface: fields are added, never
//! renamed or removed.

use serde::Serialize;
use socketvirt_common::record::config::{Mode, ReceiveMode};

use super::{Findings, Requirement};
use crate::{
    datapath::checks::{
        Check, LIST,
        judge::{self, Judgement, Recommendation},
        proofs::Proof,
    },
    kernel::require,
};

/// Counts incompatible changes of the JSON form.
pub const SCHEMA: u32 = 1;

/// The findings.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of this program.
    pub version: &'static str,
    /// The kernel's own release name.
    pub kernel: String,
    /// True when connections should be accelerated here.
    pub advisable: bool,
    /// The mode to use.
    pub recommendation: Advice,
    /// The requirements of the agent.
    pub requirements: Vec<Requirement>,
    /// Each receive mode, best first; empty when nothing could be tried.
    pub receive_modes: Vec<ReceiveModeFound>,
    /// The known differences; empty when nothing could be tried.
    pub differences: Vec<Difference>,
    /// The guards, each put to the test.
    pub guards: Vec<Guard>,
}

/// The mode to use.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    /// `adopt` or `table-only`.
    pub mode: &'static str,
    /// Eager mode: `with caution` or `no`.
    pub eager: &'static str,
    /// The receive mode of enrolled sockets.
    pub receive_mode: ReceiveMode,
    /// The reasons that it is not more.
    pub reasons: Vec<String>,
}

/// A receive mode on this kernel.
#[derive(Clone, Debug, Serialize)]
pub struct ReceiveModeFound {
    /// Which.
    pub mode: ReceiveMode,
    /// True when it can be used.
    pub passes: bool,
    /// The first defect of one that cannot.
    pub defect: Option<String>,
}

/// One known difference.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its name.
    pub name: &'static str,
    /// The same for people.
    pub title: &'static str,
    /// The kernels' treatment of an enrolled socket.
    pub fact: &'static str,
    /// The answer of plain TCP.
    pub plain: &'static str,
    /// The answers of an enrolled pair here, in each receive mode.
    pub unified: Seen,
    /// As above.
    pub tx_only: Seen,
    /// Its fate in adopt mode: `works`, `guarded`, `partly`,
    /// `refused`, `differs`, `absent` or `unclear`.
    pub adopt: &'static str,
    /// The same in eager mode.
    pub eager: &'static str,
    /// The guard that keeps it away, if one does: the reason that the socket table
    /// shows, or the rule of the data path.
    pub guard: Option<&'static str>,
    /// From which kernel version on the difference is gone, where known.
    pub fixed_in: Option<&'static str>,
    /// The operator's next step where nothing keeps it away.
    pub advice: Option<&'static str>,
}

/// An enrolled pair's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// `same`, `differs`, `absent` or `unclear`.
    pub result: &'static str,
    /// The answer, or why there is none; nothing when it is plain TCP's.
    pub answer: Option<String>,
}

/// A guard.
#[derive(Clone, Debug, Serialize)]
pub struct Guard {
    /// The reason by which the socket table shows it.
    pub reason: &'static str,
    /// `held`, `failed`, `absent` or `untried`.
    pub result: &'static str,
    /// The answer that was seen otherwise.
    pub seen: Option<String>,
}

impl From<&Judgement> for Seen {
    fn from(judgement: &Judgement) -> Self {
        let (result, answer) = match judgement {
            Judgement::Same => ("same", None),
            Judgement::Differs(answer) => ("differs", Some(answer)),
            Judgement::Absent(why) => ("absent", Some(why)),
            Judgement::Unclear(why) => ("unclear", Some(why)),
        };
        Self {
            result,
            answer: answer.cloned(),
        }
    }
}

pub(super) fn write(requirements: Vec<Requirement>, findings: &Findings) -> Report {
    let missing: Vec<String> = requirements
        .iter()
        .filter(|requirement| !requirement.is_fulfilled())
        .map(|requirement| requirement.found.clone())
        .collect();
    let recommended = judge::recommend(&findings.defects(), &findings.proofs, &missing);
    let of = |mode: ReceiveMode| findings.modes.iter().find(|answers| answers.mode == mode);
    let differences = match (of(ReceiveMode::Unified), of(ReceiveMode::TxOnly)) {
        (Some(unified), Some(tx_only)) => LIST
            .iter()
            .zip(unified.judged.iter().zip(&tx_only.judged))
            .map(|(check, both)| difference(check, both, recommended.receive_mode, findings))
            .collect(),
        _ => Vec::new(),
    };
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        kernel: require::release(),
        advisable: recommended.advisable(),
        recommendation: Advice::from(recommended),
        requirements,
        receive_modes: findings
            .defects()
            .into_iter()
            .map(|(mode, defect)| ReceiveModeFound {
                mode,
                passes: defect.is_none(),
                defect,
            })
            .collect(),
        differences,
        guards: findings
            .proofs
            .iter()
            .map(|(reason, proof)| guard(reason.word(), proof))
            .collect(),
    }
}

impl From<Recommendation> for Advice {
    fn from(recommended: Recommendation) -> Self {
        Self {
            mode: if recommended.advisable() {
                recommended.mode.word()
            } else {
                ReceiveMode::TableOnly.word()
            },
            eager: if recommended.eager {
                "with caution"
            } else {
                "no"
            },
            receive_mode: recommended.receive_mode,
            reasons: recommended.reasons,
        }
    }
}

fn difference(
    check: &Check,
    (unified, tx_only): (&Judgement, &Judgement),
    used: ReceiveMode,
    findings: &Findings,
) -> Difference {
    // Where neither mode can be used, the better one tells more.
    let judgement = match used {
        ReceiveMode::TxOnly => tx_only,
        ReceiveMode::Unified | ReceiveMode::TableOnly => unified,
    };
    let verdict = |mode| judge::verdict(check, judgement, &findings.proofs, mode).word();
    let known = check.difference;
    Difference {
        name: known.name,
        title: known.title,
        fact: known.fact,
        plain: known.plain,
        unified: unified.into(),
        tx_only: tx_only.into(),
        adopt: verdict(Mode::Adopt),
        eager: verdict(Mode::Eager),
        guard: known.keeper.word(),
        fixed_in: known.fixed_in,
        advice: known.keeper.advice(),
    }
}

fn guard(reason: &'static str, proof: &Proof) -> Guard {
    let (result, seen) = match proof {
        Proof::Held => ("held", None),
        Proof::Failed(how) => ("failed", Some(how)),
        Proof::Absent(why) => ("absent", Some(why)),
        Proof::Untried(why) => ("untried", Some(why)),
    };
    Guard {
        reason,
        result,
        seen: seen.cloned(),
    }
}
