//! The ends of a watched pair, by the number that names them.

use socketvirt_common::record::{pair::Side, watch::WatchedEnd};

use crate::maps::sv_watched;

/// Returns a watched end, its peer, and its side.
#[inline(always)]
pub fn ends(known: u32) -> Option<(&'static mut WatchedEnd, &'static mut WatchedEnd, Side)> {
    let pair = sv_watched.get_ptr_mut(known >> 1)?;
    // SAFETY: the agent's programs run one at a time; others write single words.
    let [client, server] = unsafe { &mut (*pair).ends };
    Some(match Side::of(known) {
        Side::Client => (client, server, Side::Client),
        Side::Server => (server, client, Side::Server),
    })
}
