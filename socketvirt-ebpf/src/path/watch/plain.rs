//! The look at a pair of which no end is enrolled: it measures the traffic, asks
//! the ends, and applies the rules of [`adoption`].

use socketvirt_common::{
    reason::Reason,
    record::{
        event::What,
        pair::Side,
        watch::{Want, Watched, WatchedEnd},
    },
    rule::{
        adoption::{self, Decision, Next, Standing},
        habit,
        policy::Action,
        worth::{self, Sent},
    },
    uapi::{TCP_ESTABLISHED, TCP_SYN_RECV},
};

use super::{
    super::{ready, users},
    Look, measure_from,
    place::{sv_first, sv_over},
    sight::{see, unsee},
    since, sv_sum,
};
use crate::{count, kernel::sock::Sock, policy, table::events};

/// Looks at the pair of a place of which no end is enrolled. Apart from
/// [`sv_enrolled`], because their frames share one stack with what they call
/// (K-BPF-11 in `docs/kernel`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_plain(place: u32, now: u64, sweep: u32) -> u32 {
    Look::of(place, now).map_or(0, |(mut look, pair)| {
        u32::from(look.plain(pair, sweep != 0))
    })
}

impl Look<'_> {
    /// Looks at a pair of which no end is enrolled.
    #[inline(always)]
    fn plain(&mut self, pair: &mut Watched, sweep: bool) -> bool {
        let [client, server] = [Sock(pair.ends[0].sock), Sock(pair.ends[1].sock)];
        if !open(&pair.ends[0], client) || !open(&pair.ends[1], server) {
            sv_over(self.place);
            return false;
        }
        if pair.since == 0 {
            let first = sv_first(self.place, self.now) != 0;
            if !first {
                sv_over(self.place);
            }
            return first;
        }
        let messages = [client.data_segments_out(), server.data_segments_out()];
        if sweep {
            sv_sum(self.place);
        }
        if messages == [pair.ends[0].messages, pair.ends[1].messages] {
            // Time without traffic is no part of what is measured.
            pair.since = self.now;
            return adoption::is_warm(self.now - pair.active_at);
        }
        if matches!(pair.action, Action::Off) {
            // Nothing that is measured would count.
            self.counted(pair, messages);
            unsee(pair);
            reason_of_both(pair, Reason::PolicyOff);
            return false;
        }
        self.measured(pair, messages)
    }

    /// Counts what the ends of a pair have sent that shall stay on the stack.
    #[inline(always)]
    fn counted(&mut self, pair: &mut Watched, messages: [u32; 2]) {
        pair.active_at = self.now;
        pair.since = self.now;
        for (end, messages) in pair.ends.iter_mut().zip(messages) {
            let (_, total) = sent_by(end, messages);
            measure_from(end, &total);
        }
    }

    /// Measures what was sent since the last look, and does what the rule says.
    #[inline(always)]
    fn measured(&mut self, pair: &mut Watched, messages: [u32; 2]) -> bool {
        pair.active_at = self.now;
        let [client, server] = &mut pair.ends;
        let (one, total_one) = sent_by(client, messages[0]);
        let (other, total_other) = sent_by(server, messages[1]);
        let worth = worth::judge(&one, &other);
        if worth::begins_anew(worth, self.now - pair.since) {
            pair.since = self.now;
            measure_from(client, &total_one);
            measure_from(server, &total_other);
        }
        let standing = Standing {
            worthy: pair.worthy != 0,
            not_before: pair.not_before,
        }
        .after(worth, self.now);
        pair.worthy = u32::from(standing.worthy);
        pair.not_before = standing.not_before;
        let next = adoption::of_traffic(&adoption::Pair {
            worth,
            standing,
            now: self.now,
            off: self.is_off(),
            id_taken: matches!(pair.leave, Reason::IdTaken),
        });
        match next {
            Next::Measure => true,
            Next::Keep(reason) => {
                pair.asked_at = 0;
                reason_of_both(pair, reason);
                false
            }
            Next::Ask => self.candidate(pair),
        }
    }

    /// Asks both ends of a pair that is worth it.
    #[inline(always)]
    fn candidate(&mut self, pair: &mut Watched) -> bool {
        let [client, server] = &mut pair.ends;
        let one = self.ask(client, Side::Client, server);
        let other = self.ask(server, Side::Server, client);
        // A pair that the policy keeps from it is not to be enrolled.
        let in_vain = pair.action.enrols() && self.in_vain(pair);
        let decision = adoption::of_ends(one, other, in_vain);
        pair.asked_at = adoption::asked_at(pair.asked_at, self.now, decision);
        match decision {
            Decision::Enrol => match permitted(pair) {
                Reason::None => {
                    self.want(pair, Want::Adopt);
                    true
                }
                reason => {
                    pair.asked_at = 0;
                    reason_of_both(pair, reason);
                    adoption::passes(reason)
                }
            },
            Decision::Wait => {
                policy::count::leave_seat(pair);
                see(pair);
                let known = pair
                    .ends
                    .iter()
                    .all(|end| users::has_reader(end, self.tiers));
                if !known {
                    self.tiers.needy_at = self.now;
                }
                true
            }
            Decision::Keep => {
                policy::count::leave_seat(pair);
                unsee(pair);
                false
            }
            Decision::Pause => {
                policy::count::leave_seat(pair);
                pair.visits = 0;
                pair.not_before = self.now + adoption::UNSEEN_PAUSE;
                reason_of_both(pair, Reason::Unseen);
                false
            }
        }
    }

    /// Asks what speaks against one end, and has the end tell it.
    #[inline(always)]
    fn ask(&mut self, end: &mut WatchedEnd, side: Side, peer: &WatchedEnd) -> Reason {
        let before = end.reason;
        let reason = ready::unready(self.known(side));
        end.reason = reason;
        if before as u32 != reason as u32 && is_shown(reason) {
            events::of_pair(What::KEEP, end.cookie, peer.cookie, reason);
        }
        reason
    }
}

/// True for what the program of an end has shown.
#[inline(always)]
const fn is_shown(reason: Reason) -> bool {
    habit::is_habit(reason) || matches!(reason, Reason::VouchVoid)
}

/// Returns what an end that is not enrolled has sent since measuring began, and
/// in all.
#[inline(always)]
fn sent_by(end: &mut WatchedEnd, messages: u32) -> (Sent, Sent) {
    let total = Sent {
        bytes: Sock(end.sock).bytes_sent(),
        messages,
    };
    if end.flow == 0 {
        count::of_plain(end, total.bytes, messages);
    }
    (since(end, &total), total)
}

/// True when the socket of an end is that of its connection, which is open both
/// ways.
#[inline(always)]
fn open(end: &WatchedEnd, sock: Sock) -> bool {
    sock.cookie() == end.cookie && matches!(sock.state(), TCP_ESTABLISHED | TCP_SYN_RECV)
}

/// Returns why the policy keeps a pair from being enrolled that is ready for it.
/// Otherwise the pair counts as enrolled from here on.
#[inline(always)]
fn permitted(pair: &mut Watched) -> Reason {
    match pair.action {
        Action::Eager | Action::Adopt => {
            if policy::count::take_seat(pair) {
                Reason::None
            } else {
                Reason::RuleFull
            }
        }
        Action::Undecided => Reason::NotInspected,
        Action::Observe => {
            policy::count::observed(pair);
            Reason::Observed
        }
        Action::Off => Reason::PolicyOff,
    }
}

#[inline(always)]
fn reason_of_both(pair: &mut Watched, reason: Reason) {
    pair.ends[0].reason = reason;
    pair.ends[1].reason = reason;
}
