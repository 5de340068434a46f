//! Inspects the processes that read watched sockets: the map `sv_processes`.
//!
//! The kernel side enters who reads ([`socketvirt_common::record::reader`]). Each process
//! is inspected once, and again when it runs another program or has mapped other
//! code. A process that cannot be inspected is not harmless.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use procfs::ticks_per_second;
use socketvirt_common::{
    reason::Reason,
    record::{
        raw::Raw,
        reader::{self, MADE_RING, Process, Rings},
    },
};

use super::{
    files::{self, Files},
    habits::Habits,
    ringed::{Judge, Submissions, Verdict},
    splicers,
};
use crate::host::process;

/// The time for which a program without a record of its loading counts as loading.
const LOADING: Duration = Duration::from_secs(1);

/// The shortest time between two inspections of a process that maps code all the
/// time, as those do that compile at run time.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// The finding of an inspection of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Its sockets stay on the stack, for a reason, or none.
    Judged(Reason),
    /// It is harmless as long as what it submits to its rings is watched.
    Ringed,
    /// It has done networking by a ring.
    Networks,
    /// It loads its libraries, or its rings are at work.
    Loading,
    /// It has ended.
    Gone,
}

/// The processes that read watched sockets.
pub struct Readers {
    map: BpfHashMap<MapData, u64, Raw<Process>>,
    rings: Judge,
    files: Files,
    /// When processes were met first, or inspected last.
    met: HashMap<u64, Instant>,
}

impl Readers {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(
        map: BpfHashMap<MapData, u64, Raw<Process>>,
        rings: BpfHashMap<MapData, u64, Rings>,
    ) -> Self {
        Self {
            map,
            rings: Judge::new(rings),
            files: Files::default(),
            met: HashMap::new(),
        }
    }

    /// Inspects those that were not inspected, or shall be again. Returns whether
    /// none is left that still loads.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn inspect(&mut self, habits: &mut Habits) -> Result<bool, MapError> {
        let known = self.known();
        self.met
            .retain(|name, _| known.iter().any(|(other, _)| other == name));
        let mut complete = true;
        for (name, process) in known {
            if process.again == 0 && process.reason != Reason::NotInspected {
                continue;
            }
            let now = Instant::now();
            let first = !self.met.contains_key(&name);
            let met = *self.met.entry(name).or_insert(now);
            let again = process.reason != Reason::NotInspected;
            let throttled = again && process.again != MADE_RING;
            if throttled && !first && met.elapsed() < AGAIN_EVERY {
                continue;
            }
            if !again && process.pid != 0 {
                // Its executable may have shown a habit in another cgroup.
                habits.recall(process.pid, || splicers::cgroup_of(process.pid))?;
            }
            complete &= self.inspect_one(name, process, met)?;
        }
        Ok(complete)
    }

    /// The judge of processes that have rings.
    #[must_use]
    pub fn rings(&self) -> &Judge {
        &self.rings
    }

    /// Takes note of whether submissions to rings are watched. While they are not,
    /// no process is harmless for its rings' sake.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn submissions(&mut self, now: Submissions) -> Result<(), MapError> {
        if self.rings.changes(now) && now != Submissions::Watched {
            for (name, process) in self.known() {
                if process.ringed == reader::FILES {
                    self.ask_again(name, process)?;
                }
            }
        }
        Ok(())
    }

    /// Has those judged again whose rings were not used before, and are by now.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn find_used(&mut self) -> Result<(), MapError> {
        for name in self.rings.due() {
            let process = self.get(name)?;
            match process.filter(|process| process.reason == Reason::Ring) {
                Some(process) if self.rings.is_used(name, process.pid) => {
                    self.ask_again(name, process)?;
                }
                Some(_) => {}
                None => self.rings.forget(name),
            }
        }
        Ok(())
    }

    fn ask_again(&mut self, name: u64, process: Process) -> Result<(), MapError> {
        let judged = Process {
            reason: Reason::NotInspected,
            ringed: 0,
            ..process
        };
        self.map.insert(name, Raw::of(judged), 0)
    }

    /// Inspects harmless ones again, for a map of sockets alone.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn find_maps(&mut self) -> Result<(), MapError> {
        let known = self.known();
        for (name, process) in known {
            if process.reason == Reason::None
                && process.pid != 0
                && files::has_socket_map(process.pid)
            {
                let judged = Process {
                    reason: Reason::Foreign,
                    ..process
                };
                self.map.insert(name, Raw::of(judged), 0)?;
            }
        }
        Ok(())
    }

    /// Returns the record of a process; none when it has ended.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn get(&self, name: u64) -> Result<Option<Process>, MapError> {
        match self.map.get(&name, 0) {
            Ok(process) => process.value().map(Some),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn known(&self) -> Vec<(u64, Process)> {
        let entries = self.map.iter().filter_map(Result::ok);
        entries
            .filter_map(|(name, process)| Some((name, process.value().ok()?)))
            .collect()
    }

    fn inspect_one(&mut self, name: u64, process: Process, met: Instant) -> Result<bool, MapError> {
        // As the kernel side saw it before the inspection: what is mapped meanwhile
        // is inspected again.
        let program = runs(process.pid);
        let seen = self.rings.seen(name)?;
        let mut splices = false;
        let found = self.judge(name, &process, &seen, met.elapsed(), &mut splices);
        let splices = u32::from(splices);
        // It may have become another one while it was looked at.
        let program = program.filter(|program| runs(process.pid) == Some(*program));
        let reason = match found {
            Found::Judged(reason) => reason,
            Found::Ringed => Reason::None,
            Found::Networks => Reason::Ring,
            Found::Loading => {
                // Which is known before all else is.
                if process.splices < splices {
                    let process = Process { splices, ..process };
                    self.map.insert(name, Raw::of(process), 0)?;
                }
                return Ok(false);
            }
            Found::Gone => {
                self.met.remove(&name);
                return match self.map.remove(&name) {
                    Ok(()) | Err(MapError::KeyNotFound) => Ok(true),
                    Err(error) => Err(error),
                };
            }
        };
        self.met.insert(name, Instant::now());
        let (inode, version) = program.unwrap_or_default();
        let judged = Process {
            inode,
            version,
            reason,
            splices,
            again: 0,
            ringed: match found {
                Found::Ringed => reader::FILES,
                Found::Networks => reader::NETWORK,
                _ => 0,
            },
            ..process
        };
        self.map.insert(name, Raw::of(judged), 0)?;
        if self.rings.seen(name)? == seen {
            return Ok(true);
        }
        // What the kernel side has written meanwhile is overwritten.
        let again = MADE_RING;
        self.map
            .insert(name, Raw::of(Process { again, ..judged }), 0)?;
        Ok(false)
    }

    fn judge(
        &mut self,
        name: u64,
        process: &Process,
        seen: &Rings,
        age: Duration,
        splices: &mut bool,
    ) -> Found {
        if process.memory == 0 {
            return Found::Judged(Reason::Kernel);
        }
        if process.pid == 0 {
            return Found::Judged(Reason::Unseen);
        }
        let pid = process.pid;
        match is(pid, name) {
            Ok(true) => {}
            Ok(false) => return Found::Gone,
            Err(error) => return of_error(&error),
        }
        let path = format!("/proc/{pid}/exe");
        let program = match files::id_of(Path::new(&path)) {
            Ok(program) => program,
            Err(error) => return of_error(&error),
        };
        // What else speaks against it is asked too: somebody may vouch that it does not.
        *splices = self
            .files
            .may_splice_sockets(&[(program, path.clone().into())]);
        // In this order: what is loaded later is not in the list.
        if !files::has_loaded(pid, age, LOADING) {
            return Found::Loading;
        }
        let code = match files::code_of(pid) {
            Ok(code) => code,
            Err(error) => return of_error(&error),
        };
        *splices |= self.files.may_splice_sockets(&code);
        let harmless = match self.rings.judge(name, pid, seen) {
            Ok(Verdict::None) => Found::Judged(Reason::None),
            Ok(Verdict::Watched) => Found::Ringed,
            Ok(Verdict::Wait) => return Found::Loading,
            Ok(Verdict::Kept) => return Found::Judged(Reason::Ring),
            Ok(Verdict::Networks) => return Found::Networks,
            Err(error) => return of_error(&error),
        };
        if files::has_socket_map(pid) {
            return Found::Judged(Reason::Foreign);
        }
        // It may have become another one while it was inspected.
        match (is(pid, name), files::id_of(Path::new(&path))) {
            (Ok(true), Ok(still)) if still == program => harmless,
            (Err(error), _) | (_, Err(error)) => of_error(&error),
            _ => Found::Loading,
        }
    }
}

/// The executable of a process, by inode and [`version`].
fn runs(pid: u32) -> Option<(u64, u64)> {
    let found = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((found.ino(), version(&found)))
}

/// Tells a file from others with the same inode, see [`Process::version`].
#[must_use]
pub fn version(file: &fs::Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    (file.dev(), file.ctime(), file.ctime_nsec()).hash(&mut hasher);
    hasher.finish()
}

/// Judges a process by an error of `/proc`.
fn of_error(error: &io::Error) -> Found {
    if files::has_ended(error) {
        Found::Gone
    } else {
        Found::Judged(Reason::Unseen)
    }
}

/// True when the process with this number is the one that is named, by when it
/// began.
fn is(pid: u32, name: u64) -> io::Result<bool> {
    let ticks = process::stat(pid)?.starttime;
    let began = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_second().max(1));
    let began = u64::try_from(began).unwrap_or(0);
    // A tick is 10 ms, a unit of a name about 1 ms.
    let units = |nanoseconds| reader::name(0, nanoseconds) & 0xffff_ffff;
    let distance = (name & 0xffff_ffff).wrapping_sub(units(began)) & 0xffff_ffff;
    Ok(distance <= 40 || distance >= 0xffff_ffff - 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_of_the_same_number_is_told_apart() {
        let pid = std::process::id();
        let ticks = process::stat(pid).unwrap().starttime;
        let began = ticks * (1_000_000_000 / ticks_per_second());
        assert!(is(pid, reader::name(pid, began)).unwrap());
        assert!(!is(pid, reader::name(pid, began + 1_000_000_000)).unwrap());
        assert!(is(u32::MAX, 0).is_err());
    }
}
