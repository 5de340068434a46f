//! The sockets that are kept on plain TCP, counted by reason.

use std::{os::fd::AsFd as _, path::Path};

use aya::maps::{Array, Map, MapData};
use serde::Serialize;
use socketvirt_common::{
    reason::{REASONS, Reason},
    record::{
        raw::Raw,
        watch::{PAIRS, Stage, Watched},
    },
};

use crate::host::mapping::Mapping;

/// Sockets that one reason keeps on plain TCP.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Kept {
    /// The word for the reason; never changed.
    pub reason: &'static str,
    /// Number of sockets.
    pub sockets: u64,
    /// What it means.
    pub about: &'static str,
    /// What would change it.
    pub change: &'static str,
}

/// Returns the reasons that keep any sockets, those that keep most first.
pub fn by_reason(counts: &[u64; REASONS]) -> Vec<Kept> {
    let mut all: Vec<Kept> = Reason::ALL
        .iter()
        .zip(counts)
        .filter(|&(_, &sockets)| sockets > 0)
        .map(|(reason, &sockets)| Kept {
            reason: reason.word(),
            sockets,
            about: reason.about(),
            change: reason.change(),
        })
        .collect();
    all.sort_by_key(|kept| std::cmp::Reverse(kept.sockets));
    all
}

/// Counts the ends of watched pairs that are plain at the moment, by the reason that
/// the last look found. Zeros when the maps of `home` cannot be read.
pub fn now(home: &Path) -> [u64; REASONS] {
    let mut counts = [0; REASONS];
    let read = || {
        let fresh = MapData::from_pin(home.join("sv_fresh")).ok()?;
        let fresh: Array<_, u64> = Map::Array(fresh).try_into().ok()?;
        let places = u32::try_from(fresh.get(&0, 0).ok()?).unwrap_or(PAIRS);
        let watched = MapData::from_pin(home.join("sv_watched")).ok()?;
        let length = PAIRS as usize * size_of::<Watched>();
        Some((places, Mapping::of(watched.fd().as_fd(), length).ok()?))
    };
    let Some((places, mapping)) = read() else {
        return counts;
    };
    let first: *const Raw<Watched> = mapping.start().as_ptr().cast_const().cast();
    for place in 0..places.min(PAIRS) {
        // SAFETY: a place within the mapping, whose bytes `Raw` takes whatever they are.
        let pair = unsafe { first.add(place as usize).read_volatile() };
        // One that changes while it is read may be none.
        if let Ok(pair) = pair.value()
            && pair.stage == Stage::Plain
        {
            for end in &pair.ends {
                counts[end.reason as usize] += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_keep_most_come_first() {
        let mut counts = [0; REASONS];
        counts[Reason::Bulk as usize] = 3;
        counts[Reason::Blocking as usize] = 7;
        let kept = by_reason(&counts);
        let words: Vec<_> = kept
            .iter()
            .map(|kept| (kept.reason, kept.sockets))
            .collect();
        assert_eq!(words, [("blocking", 7), ("bulk", 3)]);
        assert!(kept.iter().all(|kept| !kept.about.is_empty()));
    }
}
