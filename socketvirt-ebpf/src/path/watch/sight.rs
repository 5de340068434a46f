//! Whether receive calls on the sockets of a pair are recorded. They are not while
//! something lasting keeps it on the stack: they then cost what they cost sockets that
//! are not watched.

use socketvirt_common::record::watch::Watched;

use crate::filter;

/// Records receive calls from now on. Who reads is not known until the next one: the
/// last that was recorded may have passed its socket on.
#[inline(always)]
pub fn see(pair: &mut Watched) {
    if pair.seen != 0 {
        return;
    }
    pair.seen = 1;
    for end in &mut pair.ends {
        end.reader = 0;
        filter::enter(end.cookie);
    }
}

/// Records none any more. Who was recorded last is remembered: what it can do keeps
/// the pair where it is.
#[inline(always)]
pub fn unsee(pair: &mut Watched) {
    if pair.seen == 0 {
        return;
    }
    pair.seen = 0;
    for end in &pair.ends {
        filter::leave(end.cookie);
    }
}
