//! Proofs of guards: that a socket which could show a difference is kept off,
//! or released, for the reason that a check names.

use socketvirt_common::{
    reason::Reason,
    record::config::{Mode, ReceiveMode},
};

use super::{
    Keeper, LIST, calls,
    error::CheckError,
    lab::Lab,
    options,
    pair::{Pair, ROUNDS},
    sockets,
};

/// Scans that go on after a socket was found to be off, to see it stay off.
const MORE_ROUNDS: u32 = 3;

/// The proof of a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The socket was kept off, for the reason.
    Held,
    /// It was not, or for another reason.
    Failed(String),
    /// The kernel has nothing to guard against.
    Absent(String),
    /// Could not be tried.
    Untried(String),
}

/// A script that makes a socket unsuitable.
type Trigger = fn(&mut Pair<'_>) -> Result<(), CheckError>;

/// When it does.
#[derive(Clone, Copy)]
enum When {
    /// Before anything is sent: the pair must never be adopted.
    AtFirst,
    /// After the pair was adopted: it must be released.
    InMidLife,
    /// On an adopted pair, for good: the next one must never be adopted.
    ForTheNext,
}

/// Returns the test of a guard, for those that can be tested.
fn trigger(reason: Reason) -> Option<(When, Trigger)> {
    let in_mid_life = |trigger: Trigger| Some((When::InMidLife, trigger));
    match reason {
        Reason::Blocking => Some((When::AtFirst, |pair| {
            pair.server
                .set_nonblocking(false)
                .map_err(CheckError::setup("clear O_NONBLOCK"))
        })),
        Reason::Ulp => Some((When::AtFirst, |pair| {
            options::set_tls(&pair.server).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => CheckError::Absent("kTLS"),
                _ => CheckError::setup("turn kTLS on")(error),
            })
        })),
        Reason::Rcvlowat => in_mid_life(|pair| options::set_low_water(&pair.server)),
        Reason::ZeroCopy => in_mid_life(|pair| options::set_zero_copy(&pair.server)),
        Reason::Timestamp => in_mid_life(|pair| options::set_time_stamp(&pair.server)),
        Reason::Inq => in_mid_life(|pair| options::set_inq(&pair.server)),
        Reason::PeekOffset => in_mid_life(|pair| options::set_peek_offset(&pair.server, 0)),
        Reason::SignalDriven => in_mid_life(|pair| options::want_signals(&pair.server)),
        Reason::Filtered => in_mid_life(|pair| options::set_filter(&pair.server, u32::MAX)),
        Reason::Paced => in_mid_life(|pair| options::set_pacing(&pair.server)),
        Reason::Mapped => in_mid_life(options::map),
        Reason::ClosedUnread => Some((When::ForTheNext, |pair| {
            pair.exchange_and_look()?;
            pair.fast(b"lost")?;
            pair.close_server()
        })),
        // Nothing waits, but the call is what the guard sees.
        Reason::Discards => in_mid_life(|pair| {
            let _ = sockets::discard(&pair.server, 4);
            Ok(())
        }),
        Reason::Splice => in_mid_life(|pair| calls::splice_out(&pair.server).map(|_| ())),
        _ => None,
    }
}

/// Puts every guard that the list names to the test, in the receive mode that
/// the lab is set to.
pub fn all(lab: &mut Lab<'_>, mode: ReceiveMode) -> Vec<(Reason, Proof)> {
    let mut proofs: Vec<(Reason, Proof)> = Vec::new();
    for check in LIST {
        let (Keeper::Guard(reason) | Keeper::AdoptGuard(reason) | Keeper::LateGuard(reason, _)) =
            check.difference.keeper
        else {
            continue;
        };
        if proofs.iter().any(|(known, _)| *known == reason) {
            continue;
        }
        let proof = lab
            .receive(mode)
            .and_then(|()| prove(lab, reason))
            .unwrap_or_else(|error| match error {
                CheckError::Absent(_) => Proof::Absent(error.to_string()),
                _ => Proof::Untried(error.to_string()),
            });
        proofs.push((reason, proof));
    }
    proofs
}

fn prove(lab: &mut Lab<'_>, reason: Reason) -> Result<Proof, CheckError> {
    let Some((when, trigger)) = trigger(reason) else {
        return Ok(Proof::Untried("there is no test of this guard".into()));
    };
    let mut pair = lab.pair(Mode::Adopt)?;
    pair.nonblocking()?;
    match when {
        When::AtFirst | When::ForTheNext => {
            if matches!(when, When::ForTheNext) {
                pair.adopt()?;
                trigger(&mut pair)?;
                pair.again()?;
                pair.nonblocking()?;
            } else {
                trigger(&mut pair)?;
            }
            for _ in 0..ROUNDS {
                pair.exchange_and_look()?;
                if !pair.neither_enrolled()? {
                    return Ok(Proof::Failed("the pair was adopted".into()));
                }
            }
        }
        When::InMidLife => {
            pair.adopt()?;
            trigger(&mut pair)?;
            let mut scans = 0;
            while !pair.neither_enrolled()? {
                if scans == ROUNDS {
                    return Ok(Proof::Failed("the pair was not released".into()));
                }
                scans += 1;
                pair.exchange_and_look()?;
            }
            for _ in 0..MORE_ROUNDS {
                pair.exchange_and_look()?;
            }
        }
    }
    let found = pair.reason(&pair.server)?;
    Ok(if !pair.neither_enrolled()? {
        Proof::Failed("the pair was adopted again".into())
    } else if found == reason {
        Proof::Held
    } else {
        Proof::Failed(format!("kept off for the reason {}", found.word()))
    })
}
