//! The look at a pair of which an end is enrolled: shall it stay so?

use socketvirt_common::{
    reason::Reason,
    record::{
        config::ReceiveMode,
        event::What,
        pair::{EndKey, Enrolment, HandshakeId, Side},
        watch::{Stage, Want, Watched, WatchedEnd},
    },
    rule::{
        release, stay,
        worth::{self, Sent, Worth},
    },
};

use super::{
    super::{leaving, ready},
    Look, measure_from,
    place::{sv_first, sv_over},
    served, since, sv_sum,
};
use crate::{
    count,
    kernel::sock::Sock,
    maps::{sv_next, sv_pairs},
    policy,
    table::events,
};

/// Looks at the pair of a place of which an end is enrolled.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_enrolled(place: u32, now: u64, sweep: u32) -> u32 {
    Look::of(place, now).map_or(0, |(mut look, pair)| {
        u32::from(look.enrolled(pair, sweep != 0))
    })
}

/// Handles the pair of a place whose ends have both left.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_left(place: u32, now: u64) -> u32 {
    if let Some((mut look, pair)) = Look::of(place, now) {
        look.left(pair);
    }
    0
}

/// The state of the two ends of an enrolled pair, as it was seen.
struct Seen {
    /// Nothing is adopted any more: no end is asked.
    off: bool,
    /// The reason of the policy, or of the first end that something speaks against.
    against: Reason,
    /// Ends that have records.
    known: u32,
    /// Ends that are enrolled.
    enrolled: u32,
}

impl Look<'_> {
    /// Looks at a pair of which an end is enrolled.
    #[inline(always)]
    fn enrolled(&mut self, pair: &mut Watched, sweep: bool) -> bool {
        if pair.since == 0 && sv_first(self.place, self.now) == 0 {
            sv_over(self.place);
            return false;
        }
        let mut seen = Seen {
            off: self.is_off(),
            against: pair.action.against(),
            known: 0,
            enrolled: 0,
        };
        let id = pair.id;
        let [client, server] = &mut pair.ends;
        let total_one = self.see(id, client, Side::Client, &mut seen);
        let total_other = self.see(id, server, Side::Server, &mut seen);
        let (known, enrolled) = (seen.known, seen.enrolled);
        if sweep {
            sv_sum(self.place);
        }
        if known == 0 {
            sv_over(self.place);
            return false;
        }
        if enrolled == 0 {
            sv_left(self.place, self.now);
            return true;
        }
        let [client, server] = &mut pair.ends;
        if pair.rebase != 0 {
            pair.rebase = 0;
            pair.since = self.now;
            measure_from(client, &total_one);
            measure_from(server, &total_other);
        }
        // An end without records has told nothing.
        let mut worth = Worth::Quiet;
        if known == 2 {
            worth = worth::judge(&since(client, &total_one), &since(server, &total_other));
            if worth::begins_anew(worth, self.now - pair.since) {
                pair.since = self.now;
                measure_from(client, &total_one);
                measure_from(server, &total_other);
            }
        }
        let leave = stay::leave(&stay::Pair {
            off: seen.off,
            against: seen.against,
            bulk: matches!(worth, Worth::Bulk) && may_leave(pair),
            halved: known == 2 && enrolled == 1,
            waits: !matches!(pair.want, Want::Nothing),
            in_vain: self.in_vain(pair),
        });
        if matches!(pair.stage, Stage::Enrolled) {
            if matches!(leave, Reason::None) {
                return self.stays(pair, enrolled);
            }
            pair.leave = leave;
            // From now on no message of either end is redirected.
            // SAFETY: a field. Volatile, so that the kernel side sees it.
            unsafe { core::ptr::write_volatile(&raw mut pair.stopped, 1) };
            pair.stage = Stage::Leaving;
            // Nor is an end enrolled that still waits for it.
            pair.want = Want::Nothing;
            let [client, server] = &mut pair.ends;
            served(client, self.tiers);
            served(server, self.tiers);
            // A message under way now may have been decided before.
            return true;
        }
        // Until it has left, what its programs do has to be seen.
        self.tiers.needy_at = self.now;
        if leaving::may_visit(pair) {
            self.want(pair, Want::Release);
        }
        true
    }

    /// Looks at one end of such a pair: what it has sent in all.
    #[inline(always)]
    fn see(&mut self, id: HandshakeId, end: &mut WatchedEnd, side: Side, seen: &mut Seen) -> Sent {
        let sock = Sock(end.sock);
        let key = EndKey { id, side };
        let Some(entry) = sv_pairs.get_ptr(&key) else {
            return Sent::default();
        };
        // SAFETY: an entry of a preallocated map; its words are read one by one.
        let entry = unsafe { &*entry };
        if entry.cookie != end.cookie {
            return Sent::default();
        }
        if sock.cookie() != end.cookie {
            // No callback has told of its end.
            let _ = sv_pairs.remove(&key);
            let _ = sv_next.remove(&end.cookie);
            return Sent::default();
        }
        seen.known += 1;
        end.flow = entry.flow;
        let how = entry.enrolment;
        if matches!(seen.against, Reason::None) {
            seen.against = entry.leave;
        }
        if !matches!(how, Enrolment::None) {
            seen.enrolled += 1;
            if !seen.off && matches!(seen.against, Reason::None) {
                seen.against = ready::leave_for(self.known(side), how);
            }
        }
        count::sent(end.flow, sock)
    }

    /// Handles an enrolled pair that shall stay so.
    #[inline(always)]
    fn stays(&mut self, pair: &mut Watched, enrolled: u32) -> bool {
        self.tiers.enrolled += 1;
        if enrolled == 1 {
            // One end was adopted, the other may be in a moment.
            if matches!(pair.want, Want::Nothing) {
                self.want(pair, Want::Adopt);
            }
            return true;
        }
        if self.is_stuck(&pair.ends[0]) || self.is_stuck(&pair.ends[1]) {
            self.want(pair, Want::Wake);
            return true;
        }
        false
    }

    /// True for an enrolled end that a visit has to help. Its program waits for
    /// room to send that nothing will announce, or bytes have stayed where an
    /// enrolled socket does not look.
    #[inline(always)]
    fn is_stuck(&self, end: &WatchedEnd) -> bool {
        let sock = Sock(end.sock);
        sock.waits_for_nothing()
            || matches!(self.config.receive_mode, ReceiveMode::Unified)
                && !sock.receive_queue_empty()
                && sock.rcvlowat() <= 1
    }

    #[inline(always)]
    fn left(&mut self, pair: &mut Watched) {
        pair.stage = Stage::Plain;
        // SAFETY: a field, which no message reads any more.
        unsafe { core::ptr::write_volatile(&raw mut pair.stopped, 0) };
        pair.visits = 0;
        pair.worthy = 0;
        policy::count::leave_seat(pair);
        pair.since = self.now;
        pair.active_at = self.now;
        if matches!(pair.action.against(), Reason::None) {
            pair.releases += 1;
            pair.not_before = self.now + release::pause(pair.releases, self.config.first_pause);
        } else {
            // The operator's wish says nothing of the connection.
            pair.worthy = 1;
            pair.not_before = self.now;
        }
        let [client, server] = &mut pair.ends;
        plain_again(client, pair.leave);
        plain_again(server, pair.leave);
        let cookies = (pair.ends[0].cookie, pair.ends[1].cookie);
        if let Some(stats) = count::stats() {
            stats.released += 1;
        }
        events::of_pair(What::RELEASE, cookies.0, cookies.1, pair.leave);
    }
}

/// Notes that an end has left.
#[inline(always)]
fn plain_again(end: &mut WatchedEnd, reason: Reason) {
    end.messages = Sock(end.sock).data_segments_out();
    end.bytes = Sock(end.sock).bytes_sent();
    end.reason = reason;
    end.quiet = 0;
}

/// True when neither end is in blocking mode. A socket in that mode cannot
/// leave, and gains nothing from being stopped.
#[inline(always)]
fn may_leave(pair: &Watched) -> bool {
    let [client, server] = [Sock(pair.ends[0].sock), Sock(pair.ends[1].sock)];
    !client.is_blocking() && !server.is_blocking()
}
