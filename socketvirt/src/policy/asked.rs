//! The answer that the kernel side has given for a socket.

use std::{os::fd::AsFd as _, path::Path};

use aya::maps::{HashMap, Map, MapData};
use socketvirt_common::{
    reason::Reason,
    record::{
        pair::Side,
        policy::{Active, SLOTS},
        raw::Raw,
        watch::{PAIRS, Watched},
    },
    rule::policy::Action,
};

use super::store::{Store, StoreError};
use crate::host::mapping::Mapping;

/// The pairs of a home.
pub struct Pairs {
    ends: HashMap<MapData, u64, u32>,
    watched: Mapping,
    active: Active,
}

/// The answer for one end, and for its pair.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The end that the socket is.
    pub side: Side,
    /// The number of its rule, that of the default behind all; none while it is open,
    /// or of an earlier policy.
    pub rule: Option<u32>,
    /// What holds for the pair; none before its first look.
    pub pair: Option<Action>,
    /// Why the end is on the stack.
    pub reason: Reason,
}

impl Pairs {
    /// Those that are pinned in `folder`.
    ///
    /// # Errors
    /// When a map is missing.
    pub fn open(folder: &Path, store: &Store) -> Result<Self, StoreError> {
        let pinned = |name: &str| {
            MapData::from_pin(folder.join(name)).map_err(|source| StoreError::Open {
                folder: folder.to_owned(),
                source,
            })
        };
        let ends = Map::HashMap(pinned("sv_ends")?);
        let length = PAIRS as usize * size_of::<Watched>();
        let watched =
            Mapping::of(pinned("sv_watched")?.fd().as_fd(), length).map_err(|source| {
                StoreError::System {
                    attempt: "mapping sv_watched",
                    source,
                }
            })?;
        Ok(Self {
            ends: ends.try_into().map_err(|source| StoreError::Map {
                attempt: "opening sv_ends",
                source,
            })?,
            watched,
            active: store.active(),
        })
    }

    /// The answer for the socket with this cookie; none for one that is no end of a
    /// pair.
    #[must_use]
    pub fn answer(&self, cookie: u64) -> Option<Answer> {
        let known = self.ends.get(&cookie, 0).ok()?;
        let place = known >> 1;
        if place >= PAIRS {
            return None;
        }
        let first: *const Raw<Watched> = self.watched.start().as_ptr().cast_const().cast();
        // SAFETY: a place within the mapping, whose bytes `Raw` takes whatever they are; a
        // torn value is one of a moment ago.
        let pair = unsafe { first.add(place as usize).read_volatile() };
        let pair = pair.value().ok()?;
        let side = Side::of(known);
        let end = pair.end(side);
        let slot = end.rule.checked_sub(1);
        let of_this = pair.policy == self.active.generation();
        Some(Answer {
            side,
            rule: slot.filter(|_| of_this).map(|slot| slot % SLOTS),
            pair: (pair.since != 0).then_some(pair.action),
            reason: end.reason,
        })
    }
}
