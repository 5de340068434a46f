//! Leaving: the facts about an enrolled end that shall leave, as a look and the
//! visit that releases it read them.

use socketvirt_common::{
    reason::Reason,
    record::{
        pair::Side,
        watch::{Watched, WatchedEnd},
    },
    rule::release::{self, Leaving},
};

use super::vouch;
use crate::kernel::sock::Sock;

/// Reads what decides whether an end of a leaving pair may go.
#[inline(always)]
pub fn facts(end: &WatchedEnd, peer: &WatchedEnd, leave: Reason) -> Leaving {
    let sock = Sock(end.sock);
    let psock = sock.psock();
    let other = Sock(peer.sock);
    Leaving {
        stopped: true,
        peer_quiet: peer.quiet != 0 || other.cookie() != peer.cookie || !other.psock().exists(),
        psock_refs: psock.refs(),
        held_by_readers: release::readers_hold(sock.is_blocking(), leave),
        queue_empty: psock.queue_empty(),
        backlog_empty: sock.backlog_empty(psock),
    }
}

/// True when a visit can help an end of a leaving pair.
#[inline(always)]
pub fn may_visit(pair: &mut Watched) -> bool {
    if vouch::is_stuck(pair, Side::Client) || vouch::is_stuck(pair, Side::Server) {
        return true;
    }
    let leave = pair.leave;
    let [client, server] = &mut pair.ends;
    note_quiet(client);
    note_quiet(server);
    is_helped(client, server, leave) || is_helped(server, client, leave)
}

#[inline(always)]
fn note_quiet(end: &mut WatchedEnd) {
    if release::quiet(true, Sock(end.sock).psock().refs()) {
        end.quiet = 1;
    }
}

#[inline(always)]
fn is_helped(end: &WatchedEnd, peer: &WatchedEnd, leave: Reason) -> bool {
    let sock = Sock(end.sock);
    sock.cookie() == end.cookie
        && sock.psock().exists()
        && (release::may_leave(&facts(end, peer, leave))
            || sock.rcvlowat() > 1 && !sock.receive_queue_empty()
            || sock.waits_for_nothing())
}
