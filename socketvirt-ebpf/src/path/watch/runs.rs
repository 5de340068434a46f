//! The runs of the watch program: over notes, hot pairs, or places.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_loop};
use socketvirt_common::{
    record::watch::{HOT, NOTES, PAIRS, Run},
    rule::watched,
};

use super::sv_look;
use crate::{
    kernel::load::offset,
    maps::{sv_config, sv_hot, sv_noted, sv_notes, sv_tiers, sv_watched},
};

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
    if what == Run::Beat as u64 {
        beat();
    } else if what == Run::Notes as u64 {
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

/// Says that the agent watches now.
#[inline(always)]
fn beat() {
    if let Some(config) = sv_config.get_ptr_mut(0) {
        // SAFETY: takes nothing.
        let now = unsafe { bpf_jiffies64() };
        let until = watched::until(now, u64::from(offset!(tick)));
        // SAFETY: one word, written by the agent's programs alone.
        unsafe { core::ptr::write_volatile(&raw mut (*config).watched_until, until) };
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

const _: () = assert!(PAIRS <= 1 << 30);
