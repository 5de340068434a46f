//! Keeping the table: rows in `sv_sockets` that follow each socket's life,
//! for as long as this value lives.
//!
//! `hooks` only note what happens; the keeper's thread (`scan`) makes rows
//! of the notes and of what its scans find. `maps` is where others read both.

mod hooks;
mod maps;
mod scan;

use std::{os::fd::BorrowedFd, path::Path, time::Duration};

use aya::{Btf, Ebpf};
use socketvirt_common::record::event::TableStats;

pub use self::maps::{Maps, SHARED, kept};
use self::{
    maps::Shared,
    scan::{Scan, Scanning},
};
use super::{TableError, source};
use crate::{bpf::error::BpfError, kernel::require};

/// The size and the pace of a kept table.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows at most.
    pub rows: u32,
    /// The shortest time from one scan to the next.
    pub interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rows: 65_536,
            interval: Duration::from_secs(1),
        }
    }
}

/// The table at work. Dropped, it takes everything away.
pub struct Keeper {
    // Dropped in this order: the scans first, the programs last.
    scanning: Option<Scanning>,
    shared: Shared,
    _ebpf: Ebpf,
}

impl Keeper {
    /// Attaches the hooks to all sockets of the host, and scans once for those
    /// that exist already. Others may open the maps, at
    /// `/sys/fs/bpf/socketvirt`.
    ///
    /// # Errors
    /// When the kernel refuses, or a table is kept already.
    pub fn start(options: &Options) -> Result<Self, TableError> {
        require::check()?;
        let shared = Shared::make()?;
        let btf = Btf::from_sys_fs().map_err(BpfError::from)?;
        let mut ebpf = source::keeping(&btf, options.rows)?;
        shared.pin(&mut ebpf)?;
        let iterators = source::iterators(&mut ebpf, &btf)?;
        hooks::attach(&mut ebpf, &btf)?;
        let mut scan = Scan::of(&mut ebpf, iterators)?;
        scan.pass()?;
        Ok(Self {
            scanning: Some(scan.start(options.interval)?),
            shared,
            _ebpf: ebpf,
        })
    }

    /// Where the maps are pinned.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.shared.folder()
    }

    /// A descriptor that poll(2) reports once the scans have ended.
    #[must_use]
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        self.scanning.as_ref().map(Scanning::end_of_thread)
    }

    /// True once the scans have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.scanning.as_ref().is_none_or(Scanning::has_ended)
    }

    /// Ends the scans and takes everything away.
    ///
    /// # Errors
    /// When a scan had failed.
    pub fn finish(mut self) -> Result<TableStats, TableError> {
        match self.scanning.take() {
            Some(scanning) => scanning.end(),
            None => Ok(TableStats::default()),
        }
    }
}

/// Takes away the table that a killed keeper has left; one that is kept stays.
pub fn clear() {
    // Whoever has the lock takes everything away when dropped.
    drop(Shared::make());
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(scanning) = self.scanning.take() {
            // On the way out with another error.
            let _ = scanning.end();
        }
    }
}
