//! Looks at the processes that read watched sockets: the map `sv_processes`.
//!
//! The kernel side enters who reads ([`socketvirt_common::record::reader`]). Each process
//! is looked at once, and again when it runs another program or has mapped other
//! code. A process that cannot be looked at is not harmless.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use procfs::ticks_per_second;
use socketvirt_common::{
    reason::Reason,
    record::reader::{self, Process},
};

use super::{
    files::{self, Files},
    habits::Habits,
    splicers,
};

/// How long a program that keeps no record of its loading is taken to load.
const LOADING: Duration = Duration::from_secs(1);

/// How soon a process that maps code again and again is looked at again, at
/// most: those that compile at run time do so all the time.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// What a look at a process found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Its sockets stay on the stack, for a reason, or none.
    Judged(Reason),
    /// It loads its libraries.
    Loading,
    /// It has ended.
    Gone,
}

/// The processes that read watched sockets.
pub struct Readers {
    map: BpfHashMap<MapData, u64, Process>,
    files: Files,
    /// When processes were met first, or looked at last.
    met: HashMap<u64, Instant>,
}

impl Readers {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(map: BpfHashMap<MapData, u64, Process>) -> Self {
        Self {
            map,
            files: Files::default(),
            met: HashMap::new(),
        }
    }

    /// Looks at those that were not looked at, or shall be again. Returns whether
    /// none is left that still loads.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn look(&mut self, habits: &mut Habits) -> Result<bool, MapError> {
        let known: Vec<(u64, Process)> = self.map.iter().filter_map(Result::ok).collect();
        self.met
            .retain(|name, _| known.iter().any(|(other, _)| other == name));
        let mut complete = true;
        for (name, process) in known {
            if process.again == 0 && process.reason != Reason::NotLooked {
                continue;
            }
            let now = Instant::now();
            let first = !self.met.contains_key(&name);
            let met = *self.met.entry(name).or_insert(now);
            let again = process.reason != Reason::NotLooked;
            if again && !first && met.elapsed() < AGAIN_EVERY {
                continue;
            }
            if !again && process.pid != 0 {
                // What its executable has shown in another cgroup.
                habits.recall(process.pid, || splicers::cgroup_of(process.pid))?;
            }
            complete &= self.look_at(name, process, met)?;
        }
        Ok(complete)
    }

    /// Looks at harmless ones again, for a map of sockets alone.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn find_maps(&mut self) -> Result<(), MapError> {
        let known: Vec<(u64, Process)> = self.map.iter().filter_map(Result::ok).collect();
        for (name, process) in known {
            if process.reason == Reason::None
                && process.pid != 0
                && files::has_socket_map(process.pid)
            {
                let judged = Process {
                    reason: Reason::Foreign,
                    ..process
                };
                self.map.insert(name, judged, 0)?;
            }
        }
        Ok(())
    }

    /// What is known of a process; none when it has ended.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn get(&self, name: u64) -> Result<Option<Process>, MapError> {
        match self.map.get(&name, 0) {
            Ok(process) => Ok(Some(process)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn look_at(&mut self, name: u64, process: Process, met: Instant) -> Result<bool, MapError> {
        // As the kernel side saw it before the look: what is mapped meanwhile
        // is looked at again.
        let found = self.judge(name, &process, met.elapsed());
        let reason = match found {
            Found::Judged(reason) => reason,
            Found::Loading => return Ok(false),
            Found::Gone => {
                self.met.remove(&name);
                return match self.map.remove(&name) {
                    Ok(()) | Err(MapError::KeyNotFound) => Ok(true),
                    Err(error) => Err(error),
                };
            }
        };
        self.met.insert(name, Instant::now());
        let judged = Process {
            reason,
            again: 0,
            ..process
        };
        self.map.insert(name, judged, 0)?;
        Ok(true)
    }

    fn judge(&mut self, name: u64, process: &Process, age: Duration) -> Found {
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
        if self
            .files
            .may_splice_sockets(&[(program, path.clone().into())])
        {
            return Found::Judged(Reason::MaySplice);
        }
        // In this order: what is loaded later is not in the list.
        if !files::has_loaded(pid, age, LOADING) {
            return Found::Loading;
        }
        let code = match files::code_of(pid) {
            Ok(code) => code,
            Err(error) => return of_error(&error),
        };
        if self.files.may_splice_sockets(&code) {
            return Found::Judged(Reason::MaySplice);
        }
        if files::has_ring(pid) {
            return Found::Judged(Reason::Ring);
        }
        if files::has_socket_map(pid) {
            return Found::Judged(Reason::Foreign);
        }
        // It may have become another one while it was looked at.
        match (is(pid, name), files::id_of(Path::new(&path))) {
            (Ok(true), Ok(still)) if still == program => Found::Judged(Reason::None),
            (Err(error), _) | (_, Err(error)) => of_error(&error),
            _ => Found::Loading,
        }
    }
}

/// What an error of `/proc` says of a process.
fn of_error(error: &io::Error) -> Found {
    if files::has_ended(error) {
        Found::Gone
    } else {
        Found::Judged(Reason::Unseen)
    }
}

/// Whether the process with this number is the one that is named, by when it
/// began.
fn is(pid: u32, name: u64) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = began(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let began = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_per_second().max(1));
    let began = u64::try_from(began).unwrap_or(0);
    // A tick is 10 ms, a unit of a name about 1 ms.
    let units = |nanoseconds| reader::name(0, nanoseconds) & 0xffff_ffff;
    let distance = (name & 0xffff_ffff).wrapping_sub(units(began)) & 0xffff_ffff;
    Ok(distance <= 40 || distance >= 0xffff_ffff - 40)
}

/// The 22nd field of `/proc/<pid>/stat`: ticks after the boot (proc(5)).
fn began(stat: &str) -> Option<u64> {
    // The second is the command's name in brackets, with anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_birth_behind_any_name() {
        let stat = "7 (a) b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4321 20";
        assert_eq!(began(stat), Some(4321));
    }

    #[test]
    fn another_process_of_the_same_number_is_told_apart() {
        let pid = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = began(&stat).unwrap();
        let began = ticks * (1_000_000_000 / ticks_per_second());
        assert!(is(pid, reader::name(pid, began)).unwrap());
        assert!(!is(pid, reader::name(pid, began + 1_000_000_000)).unwrap());
        assert!(is(u32::MAX, 0).is_err());
    }
}
