//! Reading notes: the ring of `sv_events`, as memory.

use std::{os::fd::AsFd as _, path::Path, ptr::read_volatile};

use aya::maps::{Map, MapData, MapError};
use socketvirt_common::record::{event::Note, raw::Raw};

use super::TableError;
use crate::{bpf::error::BpfError, host::mapping::Mapping};

/// A reader of one ring, at a position of its own.
pub struct Ring {
    notes: Mapping,
    cursor: Mapping,
    /// Slots of the ring, a power of two.
    slots: u64,
    /// The number of the note that is read next.
    next: u64,
    /// The id of the ring, until reboot.
    id: u32,
}

fn refused(source: MapError) -> TableError {
    TableError::Bpf(BpfError::Map {
        attempt: "opening the events",
        source: Box::new(source),
    })
}

impl Ring {
    /// Of the maps that are pinned in a folder. It is read from where it is
    /// now.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn pinned(folder: &Path) -> Result<Self, TableError> {
        TableError::unless_ours(folder)?;
        let pinned = |name: &str| MapData::from_pin(folder.join(name)).map_err(refused);
        Self::of(&pinned("sv_events")?, &pinned("sv_cursor")?)
    }

    /// Of the maps of an object.
    ///
    /// # Errors
    /// When they cannot be mapped.
    pub fn loaded(ebpf: &aya::Ebpf) -> Result<Self, TableError> {
        let data = |name| match ebpf.map(name) {
            Some(Map::Array(data)) => Ok(data),
            _ => Err(BpfError::Missing(name)),
        };
        Self::of(data("sv_events")?, data("sv_cursor")?)
    }

    fn of(events: &MapData, cursor: &MapData) -> Result<Self, TableError> {
        let map = |data: &MapData, length| {
            Mapping::of(data.fd().as_fd(), length).map_err(TableError::Events)
        };
        let info = events.info().map_err(refused)?;
        let slots = info.max_entries();
        let mut ring = Self {
            notes: map(events, slots as usize * size_of::<Note>())?,
            cursor: map(cursor, size_of::<u64>())?,
            slots: u64::from(slots),
            next: 0,
            id: info.id(),
        };
        ring.seek(ring.last());
        Ok(ring)
    }

    /// Returns the id of the ring.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The number of the last note that was begun.
    #[must_use]
    pub fn last(&self) -> u64 {
        // SAFETY: mapped, and as large.
        unsafe { read_volatile(self.cursor.start().as_ptr().cast()) }
    }

    /// Reads on behind the note of this number.
    pub fn seek(&mut self, number: u64) {
        self.next = number + 1;
    }

    /// The number of the last note that was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next - 1
    }

    /// Counts the notes that wait, with those that are lost already.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.last().saturating_sub(self.position())
    }

    /// Reads what there is; returns how many notes were lost, because others
    /// were written over them.
    pub fn read(&mut self, into: &mut Vec<Note>) -> u64 {
        let newest = self.last();
        let oldest = (newest + 1).saturating_sub(self.slots);
        let mut lost = oldest.saturating_sub(self.next);
        self.next += lost;
        while self.next <= newest {
            match self.note(self.next) {
                Some(note) => into.push(note),
                // Written over while it was read.
                None if self.last() >= self.next + self.slots => lost += 1,
                // Still being written; others behind it have to wait.
                None => break,
            }
            self.next += 1;
        }
        lost
    }

    /// The note of this number, if it is there and complete.
    fn note(&self, number: u64) -> Option<Note> {
        let slot = usize::try_from(number & (self.slots - 1)).ok()?;
        // SAFETY: within the mapping.
        let note = unsafe { self.notes.start().as_ptr().cast::<Note>().add(slot) };
        // SAFETY: as above. The number before and after, since it is the last
        // that a writer writes, and zero the first.
        unsafe {
            if read_volatile(&raw const (*note).seq) != number {
                return None;
            }
            let copy = read_volatile(note.cast::<Raw<Note>>());
            if read_volatile(&raw const (*note).seq) != number {
                return None;
            }
            copy.value().ok()
        }
    }
}
