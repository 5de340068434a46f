//! The meaning of answers: pure decisions, from answers to a receive mode and a
//! verdict on each difference.

use socketvirt_common::{
    reason::Reason,
    record::config::{Mode, ReceiveMode},
};

use super::{Answer, Check, Keeper, error::CheckError, proofs::Proof};

/// The comparison of an enrolled pair's answer with plain TCP's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// As plain TCP.
    Same,
    /// Otherwise.
    Differs(String),
    /// This kernel does not have what the check is about.
    Absent(String),
    /// The check could not be run, or plain TCP did not answer as it should:
    /// it is the check that is wrong here.
    Unclear(String),
}

/// Compares an answer with what the check expects of plain TCP.
#[must_use]
pub fn judge(check: &Check, seen: &Answer) -> Judgement {
    match seen {
        Ok(answer) if answer == check.difference.plain => Judgement::Same,
        Ok(answer) => Judgement::Differs(answer.clone()),
        Err(error @ CheckError::Absent(_)) => Judgement::Absent(error.to_string()),
        // Of what rests on a redirect, it says nothing.
        Err(error @ CheckError::NotRedirected) if check.concerns_every_socket() => {
            Judgement::Differs(error.to_string())
        }
        Err(error) => Judgement::Unclear(error.to_string()),
    }
}

/// The same, with what a plain pair answered to the same script: a script
/// whose plain answer is not the expected one says nothing about an enrolled
/// one.
#[must_use]
pub fn judge_beside(check: &Check, plain: &Answer, seen: &Answer) -> Judgement {
    match judge(check, plain) {
        Judgement::Same => judge(check, seen),
        Judgement::Differs(answer) => Judgement::Unclear(format!(
            "plain TCP answered `{answer}` here, not `{}`",
            check.difference.plain
        )),
        unknown @ (Judgement::Absent(_) | Judgement::Unclear(_)) => unknown,
    }
}

/// Returns why a receive mode must not be used: the first difference that every
/// enrolled socket would show.
pub fn defect<'a>(judged: impl IntoIterator<Item = (&'a Check, &'a Judgement)>) -> Option<String> {
    judged.into_iter().find_map(|(check, judgement)| {
        if !check.concerns_every_socket() {
            return None;
        }
        match judgement {
            Judgement::Same | Judgement::Absent(_) => None,
            Judgement::Differs(answer) => Some(format!(
                "{}: `{answer}` instead of `{}`",
                check.difference.title, check.difference.plain
            )),
            Judgement::Unclear(why) => Some(format!("{}: {why}", check.difference.title)),
        }
    })
}

/// The best receive mode that has no defect.
#[must_use]
pub fn receive_mode(defects: &[(ReceiveMode, Option<String>)]) -> ReceiveMode {
    [ReceiveMode::Unified, ReceiveMode::TxOnly]
        .into_iter()
        .find(|mode| {
            defects
                .iter()
                .any(|(tried, defect)| tried == mode && defect.is_none())
        })
        .unwrap_or(ReceiveMode::TableOnly)
}

/// The fate of a difference, in a mode of enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An enrolled socket does as plain TCP.
    Works,
    /// It would not, but what could show it is kept off.
    Guarded,
    /// The same, but not for every socket, or not the first time.
    Partly,
    /// It does not, and nothing is accelerated.
    Refused,
    /// It does not, and nothing keeps it away.
    Differs,
    /// This kernel does not have it.
    Absent,
    /// Nobody knows.
    Unclear,
}

impl Verdict {
    /// The word in the report.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Guarded => "guarded",
            Self::Partly => "partly",
            Self::Refused => "refused",
            Self::Differs => "differs",
            Self::Absent => "absent",
            Self::Unclear => "unclear",
        }
    }
}

/// The verdict on one difference.
#[must_use]
pub fn verdict(
    check: &Check,
    judgement: &Judgement,
    proofs: &[(Reason, Proof)],
    mode: Mode,
) -> Verdict {
    match judgement {
        Judgement::Absent(_) => Verdict::Absent,
        Judgement::Unclear(_) => Verdict::Unclear,
        // Without its rule the data path would show it.
        Judgement::Same if matches!(check.difference.keeper, Keeper::Rule(_)) => Verdict::Guarded,
        Judgement::Same => Verdict::Works,
        Judgement::Differs(_) => match check.difference.keeper {
            Keeper::Kernel | Keeper::Rule(_) => Verdict::Refused,
            Keeper::Nobody(_) => Verdict::Differs,
            Keeper::AdoptGuard(_) if mode == Mode::Eager => Verdict::Differs,
            Keeper::Guard(reason) | Keeper::AdoptGuard(reason) | Keeper::LateGuard(reason, _) => {
                let late =
                    mode == Mode::Eager || matches!(check.difference.keeper, Keeper::LateGuard(..));
                match proofs.iter().find(|(guard, _)| *guard == reason) {
                    Some((_, Proof::Held)) if late => Verdict::Partly,
                    Some((_, Proof::Held)) => Verdict::Guarded,
                    Some((_, Proof::Failed(_))) => Verdict::Differs,
                    Some((_, Proof::Absent(_) | Proof::Untried(_))) => Verdict::Unclear,
                    // Guards are tried only where something is accelerated.
                    None => Verdict::Refused,
                }
            }
        },
    }
}

/// The advice to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// The mode to use; off for the table alone.
    pub mode: Mode,
    /// True when eager mode may be used too, for programs that were vetted.
    pub eager: bool,
    /// The receive mode of enrolled sockets.
    pub receive_mode: ReceiveMode,
    /// The reasons that it is not more.
    pub reasons: Vec<String>,
}

impl Recommendation {
    /// True when acceleration is advisable at all.
    #[must_use]
    pub fn advisable(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Nothing but the table, for these reasons.
    #[must_use]
    pub fn table_only(reasons: Vec<String>) -> Self {
        Self {
            mode: Mode::Off,
            eager: false,
            receive_mode: ReceiveMode::TableOnly,
            reasons,
        }
    }
}

/// Recommends a mode.
///
/// A guard that did not hold is a difference that was thought to be kept
/// away, and speaks against acceleration as a defect does.
#[must_use]
pub fn recommend(
    defects: &[(ReceiveMode, Option<String>)],
    proofs: &[(Reason, Proof)],
    missing: &[String],
) -> Recommendation {
    let mut reasons = missing.to_vec();
    let receive_mode = receive_mode(defects);
    let failed = proofs.iter().filter_map(|(reason, proof)| match proof {
        Proof::Failed(how) => Some(format!("the guard `{}` did not hold: {how}", reason.word())),
        Proof::Untried(why) => Some(format!(
            "the guard `{}` could not be tried: {why}",
            reason.word()
        )),
        Proof::Held | Proof::Absent(_) => None,
    });
    if receive_mode == ReceiveMode::TableOnly {
        reasons.extend(defects.iter().filter_map(|(mode, defect)| {
            let defect = defect.as_ref()?;
            Some(format!("receive mode {}: {defect}", mode.word()))
        }));
    } else {
        reasons.extend(failed);
    }
    if !reasons.is_empty() || receive_mode == ReceiveMode::TableOnly {
        return Recommendation::table_only(reasons);
    }
    Recommendation {
        mode: Mode::Adopt,
        eager: true,
        receive_mode,
        reasons,
    }
}

#[cfg(test)]
mod tests;
