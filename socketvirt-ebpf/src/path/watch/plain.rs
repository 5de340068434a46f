//! The look at a pair of which no end is enrolled: is it worth it, and does
//! anything speak against it?

use socketvirt_common::{
    reason::Reason,
    record::{
        config::Mode,
        event::What,
        pair::Side,
        watch::{WARM, Want, Watched, WatchedEnd},
    },
    rule::{
        habit, release,
        worth::{self, Sent, Worth},
    },
    uapi::{TCP_ESTABLISHED, TCP_SYN_RECV},
};

use super::{
    super::ready,
    Look, measure_from,
    place::{sv_first, sv_over},
    since, sv_sum,
};
use crate::{count, kernel::sock::Sock, table::events};

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

#[inline(always)]
fn reason_of_both(pair: &mut Watched, reason: Reason) {
    pair.ends[0].reason = reason;
    pair.ends[1].reason = reason;
}
