//! Watch: looks at the watched pairs without their sockets' locks, and says
//! which of them want to change.
//!
//! A look measures what the ends have sent, judges whether that is worth it,
//! and asks what speaks against the fast path. It writes nothing of a socket: a
//! pair that wants to change waits for a locked visit ([`super::act`]).

use core::ffi::c_void;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_loop};
use socketvirt_common::{
    reason::Reason,
    record::{
        config::{Config, Mode, ReceiveMode},
        event::What,
        pair::{EndKey, Enrolment, HandshakeId, Side},
        watch::{HOT, NOTES, PAIRS, Run, Stage, Tiers, WARM, Want, Watched, WatchedEnd},
    },
    rule::{
        habit, release,
        worth::{self, Sent, Worth},
    },
    uapi::{TCP_ESTABLISHED, TCP_SYN_RECV},
};

use super::{habits, ready};
use crate::{
    count::{self, count},
    kernel::sock::Sock,
    maps::{
        sv_config, sv_ends, sv_hot, sv_next, sv_noted, sv_notes, sv_pairs, sv_places, sv_spaces,
        sv_tiers, sv_watched,
    },
    table::events,
};

/// The state that the look at one pair needs.
pub struct Look<'a> {
    pub now: u64,
    pub config: &'a Config,
    pub tiers: &'a mut Tiers,
    pub place: u32,
}

/// The work of one run, for the functions that `bpf_loop` calls.
#[repr(C)]
struct Turn {
    now: u64,
    /// The first place of a sweep, or number of a note.
    first: u64,
}

/// Does one run: `what` is a [`Run`], see there for the others.
#[inline(always)]
pub fn run(now: u64, what: u64, first: u64, many: u64) {
    let mut turn = Turn { now, first };
    let Some(tiers) = sv_tiers.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the agent's programs run one at a time.
    let tiers = unsafe { &mut *tiers };
    if what == Run::Notes as u64 {
        turn.first = tiers.taken;
        let noted = sv_noted.get_ptr(0).map_or(0, |noted| {
            // SAFETY: one word.
            unsafe { core::ptr::read_volatile(noted) }
        });
        let waiting = noted - turn.first;
        if waiting > u64::from(NOTES) {
            turn.first = noted - u64::from(NOTES);
        }
        let many = if noted - turn.first > many {
            many
        } else {
            noted - turn.first
        };
        repeat(many, take as *const c_void, &mut turn);
        tiers.taken = turn.first + many;
    } else if what == Run::Hot as u64 {
        let many = u64::from(tiers.hot);
        // Not in `turn`: the verifier would count its turns with it.
        tiers.kept = 0;
        repeat(many, hot as *const c_void, &mut turn);
        tiers.hot = tiers.kept;
    } else {
        repeat(many, swept as *const c_void, &mut turn);
    }
}

/// Calls `step` with the numbers below `many`.
#[inline(always)]
fn repeat(many: u64, step: *const c_void, turn: &mut Turn) {
    // SAFETY: the function has the form that the helper calls, and the verifier
    // checks it.
    unsafe {
        bpf_loop(
            many as u32,
            step.cast_mut(),
            core::ptr::from_mut(turn).cast(),
            0,
        )
    };
}

/// Takes in one note: a new pair is hot.
extern "C" fn take(index: u64, turn: *mut Turn) -> i64 {
    // SAFETY: what `run` passed on.
    let number = unsafe { (*turn).first } + index;
    if let Some(note) = sv_notes.get_ptr(number as u32 & (NOTES - 1)) {
        // SAFETY: one word.
        let note = unsafe { core::ptr::read_volatile(note) };
        // Another number: it was written over, or not written yet. A sweep
        // finds the pair.
        if note >> 32 == number & 0xffff_ffff {
            warm(note as u32);
        }
    }
    0
}

/// Enters a pair among the hot ones, if there is room.
#[inline(always)]
fn warm(place: u32) {
    let (Some(pair), Some(tiers)) = (sv_watched.get_ptr_mut(place), sv_tiers.get_ptr_mut(0)) else {
        return;
    };
    // SAFETY: the agent's programs run one at a time.
    let (pair, tiers) = unsafe { (&mut *pair, &mut *tiers) };
    if pair.hot != 0 || tiers.hot >= HOT {
        return;
    }
    if let Some(entry) = sv_hot.get_ptr_mut(tiers.hot) {
        // SAFETY: one word.
        unsafe { *entry = place };
        tiers.hot += 1;
        pair.hot = 1;
    }
}

/// Looks at one hot pair, which stays so or not.
extern "C" fn hot(index: u64, turn: *mut Turn) -> i64 {
    let Some(entry) = sv_hot.get_ptr(index as u32) else {
        return 1;
    };
    // SAFETY: one word.
    let place = unsafe { *entry };
    // SAFETY: what `run` passed on.
    let turn = unsafe { &mut *turn };
    if sv_look(place, turn.now, 0) != 0 {
        let Some(tiers) = sv_tiers.get_ptr_mut(0) else {
            return 1;
        };
        // SAFETY: the agent's programs run one at a time.
        let tiers = unsafe { &mut *tiers };
        if let Some(entry) = sv_hot.get_ptr_mut(tiers.kept) {
            // SAFETY: one word; what is written over was looked at.
            unsafe { *entry = place };
            tiers.kept += 1;
        }
    } else if let Some(pair) = sv_watched.get_ptr_mut(place) {
        // SAFETY: the agent's programs run one at a time.
        unsafe { (*pair).hot = 0 };
    }
    0
}

/// Looks at one place of a sweep. A pair that moves is hot from now on.
extern "C" fn swept(index: u64, turn: *mut Turn) -> i64 {
    // SAFETY: what `run` passed on.
    let turn = unsafe { &mut *turn };
    let place = (turn.first + index) as u32;
    if sv_look(place, turn.now, 1) != 0 {
        warm(place);
    }
    0
}

/// Looks at the pair of a place, and says whether it shall be looked at again
/// soon.
///
/// The verifier looks at this function by itself, and once: not again for each
/// turn of those that call it. (K-BPF-9 in `docs/kernel`.)
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_look(place: u32, now: u64, sweep: u32) -> u32 {
    let Some(pair) = sv_watched.get_ptr_mut(place) else {
        return 0;
    };
    // SAFETY: the agent's programs run one at a time; elsewhere a place is
    // written before it is noted, and single words of it.
    let pair = unsafe { &mut *pair };
    match pair.stage {
        Stage::Free => 0,
        Stage::Over => {
            if sweep != 0 {
                // Before it is in the queue: the next pair may have it in the same moment.
                pair.stage = Stage::Free;
                if sv_places.push(place, 0).is_err() {
                    pair.stage = Stage::Over;
                }
            }
            0
        }
        Stage::Plain => sv_plain(place, now, sweep),
        Stage::Enrolled | Stage::Leaving => sv_enrolled(place, now, sweep),
    }
}

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

/// Makes the first look at a pair: it can be found by its sockets from now on. 0
/// when it has a place already.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_first(place: u32, now: u64) -> u32 {
    Look::of(place, now).map_or(0, |(mut look, pair)| u32::from(look.first(pair)))
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

/// Adds what the ends of a pair have sent and is not among the counters yet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_sum(place: u32) -> u32 {
    if let (Some(pair), Some(tiers)) = (sv_watched.get_ptr(place), sv_tiers.get_ptr_mut(0)) {
        // SAFETY: the agent's programs run one at a time; others write single words.
        let (pair, tiers) = unsafe { (&*pair, &mut *tiers) };
        let [client, server] = &pair.ends;
        count::add_live(&mut tiers.live, client);
        count::add_live(&mut tiers.live, server);
    }
    0
}

/// Frees the pair of a place: its connection is over.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_over(place: u32) -> u32 {
    if let Some((mut look, pair)) = Look::of(place, 0) {
        look.over(pair);
    }
    0
}

/// Looks at the pair of a place of which an end is enrolled.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_enrolled(place: u32, now: u64, sweep: u32) -> u32 {
    Look::of(place, now).map_or(0, |(mut look, pair)| {
        u32::from(look.enrolled(pair, sweep != 0))
    })
}

impl Look<'static> {
    /// Returns what the look at a place needs.
    #[inline(always)]
    fn of(place: u32, now: u64) -> Option<(Self, &'static mut Watched)> {
        let pair = sv_watched.get_ptr_mut(place)?;
        let config = sv_config.get(0)?;
        let tiers = sv_tiers.get_ptr_mut(0)?;
        // SAFETY: the agent's programs run one at a time; elsewhere a place is
        // written before it is noted, and single words of it.
        let (pair, tiers) = unsafe { (&mut *pair, &mut *tiers) };
        let look = Self {
            now,
            config,
            tiers,
            place,
        };
        Some((look, pair))
    }
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
            return sv_first(self.place, self.now) != 0;
        }
        let messages = [client.data_segments_out(), server.data_segments_out()];
        if sweep {
            sv_sum(self.place);
        }
        if messages == [pair.ends[0].messages, pair.ends[1].messages] {
            // Time without traffic is no part of what is measured.
            pair.since = self.now;
            return self.now - pair.active_at < WARM;
        }
        self.measured(pair, messages)
    }

    #[inline(always)]
    fn first(&mut self, pair: &mut Watched) -> bool {
        let id = pair.id;
        let [client, server] = &mut pair.ends;
        let mut enrolled = false;
        if !self.enter(id, client, Side::Client, &mut enrolled)
            || !self.enter(id, server, Side::Server, &mut enrolled)
        {
            sv_over(self.place);
            return false;
        }
        if enrolled {
            // A handshake has enrolled it, maybe one end alone.
            pair.stage = Stage::Enrolled;
            pair.rebase = 1;
        }
        // It may have been noted after this run began.
        pair.active_at = pair.active_at.min(self.now);
        pair.since = pair.active_at;
        self.tiers.pairs += 1;
        true
    }

    /// Returns the number that names an end among the watched ones.
    #[inline(always)]
    fn known(&self, side: Side) -> u32 {
        self.place << 1 | side as u32
    }

    /// Enters one end of it; false when the pair has a place already.
    #[inline(always)]
    fn enter(
        &self,
        id: HandshakeId,
        end: &mut WatchedEnd,
        side: Side,
        enrolled: &mut bool,
    ) -> bool {
        let known = self.known(side);
        let new = sv_ends.insert(&end.cookie, &known, u64::from(BPF_NOEXIST));
        if new.is_err() && !again(id, end.cookie, known) {
            return false;
        }
        let sock = Sock(end.sock);
        if let Some(entry) = sv_pairs.get_ptr(&EndKey { id, side }) {
            // Of eager mode, whose handshakes make flows.
            // SAFETY: an entry of a preallocated map, single words of it.
            let entry = unsafe { &*entry };
            if entry.cookie == end.cookie {
                end.flow = entry.flow;
                *enrolled |= entry.enrolment.is_active();
            }
        }
        end.netns = sock.netns();
        true
    }

    /// Asks, when something was sent, whether it is worth it and whether
    /// anything speaks against it.
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
        match worth {
            Worth::Exchange => pair.worthy = 1,
            Worth::Bulk => {
                pair.worthy = 0;
                let pause = self.now + worth::BULK_PAUSE;
                if pause > pair.not_before {
                    pair.not_before = pause;
                }
                reason_of_both(pair, Reason::Bulk);
                return false;
            }
            Worth::Quiet => {}
        }
        if pair.worthy == 0 {
            return true;
        }
        if self.now < pair.not_before {
            reason_of_both(pair, Reason::NotWorth);
            return false;
        }
        self.candidate(pair)
    }

    /// Handles a pair that is worth it.
    #[inline(always)]
    fn candidate(&mut self, pair: &mut Watched) -> bool {
        if matches!(self.config.mode, Mode::Off) || self.config.draining != 0 {
            reason_of_both(pair, Reason::Draining);
            return false;
        }
        if matches!(pair.leave, Reason::IdTaken) {
            // Another connection came first, and stays as long as it lasts.
            reason_of_both(pair, Reason::IdTaken);
            return false;
        }
        let [client, server] = &mut pair.ends;
        let one = self.ask(client, Side::Client, server);
        let other = self.ask(server, Side::Server, client);
        if !matches!((one, other), (Reason::None, Reason::None)) {
            return ready::passes(one) && ready::passes(other);
        }
        if self.in_vain(pair) {
            // The visits do not find its sockets.
            pair.visits = 0;
            pair.not_before = self.now + release::pause(1, release::FIRST_PAUSE);
            reason_of_both(pair, Reason::Unseen);
            return false;
        }
        self.want(pair, Want::Adopt);
        true
    }

    /// Asks what speaks against one end, and has the end tell it.
    #[inline(always)]
    fn ask(&mut self, end: &mut WatchedEnd, side: Side, peer: &WatchedEnd) -> Reason {
        let before = end.reason;
        let reason = ready::unready(self.known(side));
        end.reason = reason;
        if before as u32 != reason as u32 && habit::is_habit(reason) {
            events::of_pair(What::PIN, end.cookie, peer.cookie, reason);
        }
        reason
    }

    /// Looks at a pair of which an end is enrolled.
    #[inline(always)]
    fn enrolled(&mut self, pair: &mut Watched, sweep: bool) -> bool {
        if pair.since == 0 && sv_first(self.place, self.now) == 0 {
            return false;
        }
        let mut seen = Seen {
            leave: if matches!(self.config.mode, Mode::Off) || self.config.draining != 0 {
                Reason::Draining
            } else {
                Reason::None
            },
            known: 0,
            enrolled: 0,
        };
        let id = pair.id;
        let [client, server] = &mut pair.ends;
        let total_one = self.see(id, client, Side::Client, &mut seen);
        let total_other = self.see(id, server, Side::Server, &mut seen);
        let (known, enrolled, mut leave) = (seen.known, seen.enrolled, seen.leave);
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
        if matches!(leave, Reason::None) && matches!(worth, Worth::Bulk) && may_leave(pair) {
            leave = Reason::Bulk;
        }
        if matches!(leave, Reason::None)
            && known == 2
            && enrolled == 1
            && matches!(pair.want, Want::Nothing)
            && self.in_vain(pair)
        {
            leave = Reason::PeerNotEnrolled;
        }
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
            // What is under way now may have been decided before.
            return true;
        }
        if ready::may_visit(pair) {
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
        if matches!(seen.leave, Reason::None) {
            seen.leave = entry.leave;
        }
        if !matches!(how, Enrolment::None) {
            seen.enrolled += 1;
            if matches!(seen.leave, Reason::None) {
                seen.leave = ready::leave_for(self.known(side), how);
                habits::remember(sock, side, seen.leave);
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
        pair.releases += 1;
        pair.since = self.now;
        pair.active_at = self.now;
        pair.not_before = self.now + release::pause(pair.releases, self.config.first_pause);
        let [client, server] = &mut pair.ends;
        plain_again(client, pair.leave);
        plain_again(server, pair.leave);
        let cookies = (pair.ends[0].cookie, pair.ends[1].cookie);
        if let Some(stats) = count::stats() {
            stats.released += 1;
        }
        events::of_pair(What::RELEASE, cookies.0, cookies.1, pair.leave);
    }

    /// Makes both ends wait for a visit under their locks.
    #[inline(always)]
    fn want(&mut self, pair: &mut Watched, want: Want) {
        pair.want = want;
        if pair.visits == 0 {
            pair.wanted_at = self.now;
        }
        pair.visits += 1;
        let [client, server] = &mut pair.ends;
        wait(client, self.tiers);
        wait(server, self.tiers);
    }

    /// True when visits have not brought what is wanted, often enough and for long
    /// enough: looks follow each other fast or slowly.
    #[inline(always)]
    fn in_vain(&self, pair: &Watched) -> bool {
        pair.visits > MOST_VISITS && self.now - pair.wanted_at > LONGEST_WANT
    }

    /// Ends a pair whose connection is over: its place will be free.
    #[inline(always)]
    fn over(&mut self, pair: &mut Watched) {
        let [client, server] = &mut pair.ends;
        self.forget(client, Side::Client);
        self.forget(server, Side::Server);
        if pair.since != 0 {
            self.tiers.pairs -= 1;
        }
        pair.want = Want::Nothing;
        pair.stage = Stage::Over;
    }

    #[inline(always)]
    fn forget(&mut self, end: &mut WatchedEnd, side: Side) {
        served(end, self.tiers);
        let known = self.known(side);
        if sv_ends
            .get_ptr(&end.cookie)
            // SAFETY: one word.
            .is_some_and(|entry| unsafe { *entry } == known)
        {
            let _ = sv_ends.remove(&end.cookie);
        }
        // A socket with a flow is counted where it ends.
        if end.flow == 0 {
            let sock = Sock(end.sock);
            if sock.cookie() == end.cookie {
                count::of_plain(end, sock.bytes_sent(), sock.data_segments_out());
            }
            count::left_on_stack(end.reason);
        }
    }
}

/// The state of the two ends of an enrolled pair, as it was seen.
struct Seen {
    /// The reason for which the pair shall leave.
    leave: Reason,
    /// Ends that have records.
    known: u32,
    /// Ends that are enrolled.
    enrolled: u32,
}

/// Enters a socket that had a place before; that of an earlier connection gives
/// way. Returns false when it had none, or this connection has a place already.
#[inline(always)]
fn again(id: HandshakeId, cookie: u64, known: u32) -> bool {
    let Some(entry) = sv_ends.get_ptr_mut(&cookie) else {
        // It finds no room.
        count!(pairs_full);
        return false;
    };
    // SAFETY: one word.
    let before = unsafe { *entry };
    if before == known {
        return true;
    }
    if let Some(other) = sv_watched.get_ptr(before >> 1) {
        // SAFETY: the agent's programs run one at a time.
        if unsafe { (*other).id } == id {
            return false;
        }
    }
    // SAFETY: one word.
    unsafe { *entry = known };
    true
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

/// Returns what was sent since measuring began.
#[inline(always)]
fn since(end: &WatchedEnd, total: &Sent) -> Sent {
    Sent {
        bytes: total.bytes - end.bytes,
        messages: total.messages.wrapping_sub(end.messages),
    }
}

/// Begins measuring anew.
#[inline(always)]
fn measure_from(end: &mut WatchedEnd, total: &Sent) {
    end.bytes = total.bytes;
    end.messages = total.messages;
}

/// Notes that an end has left.
#[inline(always)]
fn plain_again(end: &mut WatchedEnd, reason: Reason) {
    end.messages = Sock(end.sock).data_segments_out();
    end.bytes = Sock(end.sock).bytes_sent();
    end.reason = reason;
    end.quiet = 0;
}

/// Makes an end wait for a visit.
#[inline(always)]
fn wait(end: &mut WatchedEnd, tiers: &mut Tiers) {
    if end.waits != 0 {
        return;
    }
    end.waits = 1;
    tiers.waiting += 1;
    if let Some(waiting) = sv_spaces.get_ptr_mut(&end.netns) {
        // SAFETY: one word, which the agent's programs alone write.
        unsafe { *waiting += 1 };
    } else {
        // With a full map it is visited when there is room again.
        let _ = sv_spaces.insert(&end.netns, &1, 0);
    }
}

/// Visits after which a pair that is not what it wants to be waits...
const MOST_VISITS: u32 = 20;
/// ...if they went on for longer than this, nanoseconds.
const LONGEST_WANT: u64 = 200_000_000;

/// Lets an end wait no longer.
#[inline(always)]
pub fn served(end: &mut WatchedEnd, tiers: &mut Tiers) {
    if end.waits == 0 {
        return;
    }
    end.waits = 0;
    tiers.waiting = tiers.waiting.saturating_sub(1);
    if let Some(waiting) = sv_spaces.get_ptr_mut(&end.netns) {
        // SAFETY: one word, which the agent's programs alone write.
        unsafe { *waiting = (*waiting).saturating_sub(1) };
    }
}

/// True when the socket of an end is that of its connection, which is open both
/// ways.
#[inline(always)]
fn open(end: &WatchedEnd, sock: Sock) -> bool {
    sock.cookie() == end.cookie && matches!(sock.state(), TCP_ESTABLISHED | TCP_SYN_RECV)
}

/// True when neither end is in blocking mode. A socket in that mode cannot
/// leave, and gains nothing from being stopped.
#[inline(always)]
fn may_leave(pair: &Watched) -> bool {
    let [client, server] = [Sock(pair.ends[0].sock), Sock(pair.ends[1].sock)];
    !client.is_blocking() && !server.is_blocking()
}

#[inline(always)]
fn reason_of_both(pair: &mut Watched, reason: Reason) {
    pair.ends[0].reason = reason;
    pair.ends[1].reason = reason;
}

const _: () = assert!(PAIRS <= 1 << 30);
