//! The filter of watched ends: a socket whose counter is 0 is none of them.
//!
//! Each receive call of the host asks, and a look into an array takes a tenth of the
//! time of one into `sv_ends`.

use socketvirt_common::record::watch::FILTER;

use crate::{count, maps::sv_filter};

/// An end has a place from now on.
#[inline(always)]
pub fn enter(cookie: u64) {
    change(cookie, 1);
}

/// An end that was entered has no place any more.
#[inline(always)]
pub fn leave(cookie: u64) {
    change(cookie, u64::MAX);
}

#[inline(always)]
fn change(cookie: u64, by: u64) {
    if let Some(counter) = sv_filter.get_ptr_mut(cookie as u32 & (FILTER - 1)) {
        count::add(counter, by);
    }
}

/// False when the socket of this cookie is no watched end.
#[inline(always)]
pub fn may_be_watched(cookie: u64) -> bool {
    sv_filter
        .get_ptr(cookie as u32 & (FILTER - 1))
        // SAFETY: one word.
        .is_some_and(|counter| unsafe { core::ptr::read_volatile(counter) } != 0)
}
