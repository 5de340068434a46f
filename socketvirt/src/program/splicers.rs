//! Programs that may splice.
//!
//! splice(2) gets nothing out of an enrolled socket, and one that is already
//! enrolled cannot leave while its program only splices: what is queued is
//! never read. So a program that could is found before any of its sockets is
//! enrolled: by its executable, and the libraries that it has loaded. All
//! sockets of its cgroup are then left on the stack. So are they for a process
//! that cannot be inspected.
//!
//! While a program of a cgroup was not inspected since it began, nothing of
//! that cgroup is enrolled ([`super::begun`]): an inspection comes at once, and
//! once more when the program's libraries are loaded.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::maps::MapError;
use socketvirt_common::{reason::Reason, rule::inspected};

use super::{
    begun::{Begun, Uninspected},
    files::{self, FileId, Files},
    habits::Habits,
};
use crate::host::{
    cgroup::Cgroup,
    cgroup_id::{self, Hierarchy, INVISIBLE},
};

/// The time between two inspections of the libraries of known processes: a program
/// can load more at any time.
const LIBRARIES_EVERY: Duration = Duration::from_secs(1);

/// The time for which a program without a record of its loading counts as loading.
const LOADING: Duration = Duration::from_secs(1);

/// Programs of cgroups that are remembered to be harmless, at most.
const MANY_HARMLESS: usize = 4096;

/// The record of a process.
#[derive(Clone, Copy)]
struct Process {
    program: FileId,
    since: Instant,
    /// Its libraries were there when it was inspected.
    loaded: bool,
}

/// The state of the inspections: executables, processes and cgroups.
pub struct Splicers {
    habits: Habits,
    begun: Begun,
    cgroups: Option<Hierarchy>,
    files: Files,
    processes: HashMap<u32, Process>,
    /// Programs that loaded nothing that splices, by cgroup.
    harmless: HashSet<(u64, FileId)>,
    libraries_inspected: Option<Instant>,
    unfinished: bool,
}

impl Splicers {
    /// Knows nothing yet; what it finds goes into `habits`.
    #[must_use]
    pub fn new(habits: Habits, begun: Begun) -> Self {
        Self {
            habits,
            begun,
            cgroups: Hierarchy::open().ok(),
            files: Files::default(),
            processes: HashMap::new(),
            harmless: HashSet::new(),
            libraries_inspected: None,
            unfinished: false,
        }
    }

    /// Returns the source that tells of programs that begin.
    #[must_use]
    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// The habits of programs.
    pub fn habits(&mut self) -> &mut Habits {
        &mut self.habits
    }

    /// The time that first reads of files took.
    #[must_use]
    pub fn reading(&self) -> Duration {
        self.files.reading()
    }

    /// True when the last inspection met a program that was still loading, or has left
    /// habits without their programs.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Inspects these processes, and says whether none is still loading. Those
    /// that end meanwhile are left out.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn inspect(&mut self, pids: impl IntoIterator<Item = u32>) -> Result<bool, MapError> {
        let again = self
            .libraries_inspected
            .is_none_or(|at| at.elapsed() >= LIBRARIES_EVERY);
        if again {
            self.libraries_inspected = Some(Instant::now());
        }
        let mut complete = true;
        let mut seen = HashSet::new();
        for pid in pids {
            seen.insert(pid);
            complete &= self.inspect_one(pid, None, again)?;
        }
        self.processes.retain(|pid, _| seen.contains(pid));
        Ok(complete)
    }

    /// Inspects the processes of the cgroups in which programs have begun;
    /// `all` gives those of every cgroup.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub fn inspect_begun(&mut self, all: impl Fn() -> Vec<u32>) -> Result<(), MapError> {
        let cgroups = self.cgroups.as_ref();
        self.unfinished = !self.habits.learn(|id| procs(cgroups, id));
        let uninspected = self.begun.uninspected();
        uninspected
            .into_iter()
            .try_for_each(|at| self.inspect_cgroup(at, &all))
    }

    fn inspect_cgroup(
        &mut self,
        at: Uninspected,
        all: impl Fn() -> Vec<u32>,
    ) -> Result<(), MapError> {
        let known = (at.cgroup != inspected::ANY).then_some(at.cgroup);
        let pids = match known.map(|id| procs(self.cgroups.as_ref(), id)) {
            Some(Ok(pids)) => pids,
            Some(Err(error)) if cgroup_id::is_gone(&error) => {
                self.begun.forget(at.cgroup);
                return Ok(());
            }
            // It may be threaded, or out of reach.
            Some(Err(_)) | None => all(),
        };
        let mut complete = true;
        for pid in pids {
            complete &= self.inspect_one(pid, known, false)?;
        }
        if complete {
            self.begun.inspected(at)?;
        } else {
            self.unfinished = true;
        }
        Ok(())
    }

    /// Inspects a process, if it was not inspected as it is; `again` also when
    /// it was. Says whether what it has loaded was all there.
    fn inspect_one(
        &mut self,
        pid: u32,
        cgroup: Option<u64>,
        again: bool,
    ) -> Result<bool, MapError> {
        if pid == INVISIBLE {
            return self.unseen(pid, cgroup);
        }
        let path = PathBuf::from(format!("/proc/{pid}/exe"));
        let program = match files::id_of(&path) {
            Ok(program) => program,
            // Kernel threads have none, nor has what has ended.
            Err(error) if files::has_ended(&error) => return Ok(true),
            Err(_) => return self.unseen(pid, cgroup),
        };
        let known = self.processes.get(&pid).copied();
        let known = known.filter(|known| known.program == program);
        // The program is new here, or its cgroup.
        if known.is_none() || cgroup.is_some() {
            let cgroup = || cgroup.or_else(|| cgroup_of(pid));
            self.habits.recall(pid, cgroup)?;
            if files::has_ring(pid)
                && let Some(cgroup) = cgroup()
            {
                self.habits.keep_off(cgroup, Reason::Ring)?;
            }
        }
        if !again && known.is_some_and(|known| known.loaded) {
            return Ok(true);
        }
        let since = known.map_or_else(Instant::now, |known| known.since);
        let mut loaded = true;
        let own = [(program, path.clone())];
        let mut may_splice = self.files.may_splice_sockets(&own);
        if !may_splice {
            // It loads what it has loaded before, and the next scan inspects it.
            if let Some(cgroup) = cgroup
                && self.harmless.contains(&(cgroup, program))
                && !chooses_libraries(pid)
            {
                return Ok(true);
            }
            // In this order: what is loaded later is not in the list.
            loaded = files::has_loaded(pid, since.elapsed(), LOADING);
            let code = match files::code_of(pid) {
                Ok(code) => code,
                Err(error) if files::has_ended(&error) => Vec::new(),
                Err(_) => return self.unseen(pid, cgroup),
            };
            // The executable is among them.
            may_splice = self.files.may_splice_sockets(&code);
        }
        let process = Process {
            program,
            since,
            loaded: loaded || may_splice,
        };
        self.processes.insert(pid, process);
        if may_splice {
            if let Some(cgroup) = cgroup.or_else(|| cgroup_of(pid)) {
                self.habits.keep_off(cgroup, Reason::MaySplice)?;
            }
        } else if loaded && let Some(cgroup) = cgroup {
            if self.harmless.len() >= MANY_HARMLESS {
                self.harmless.clear();
            }
            self.harmless.insert((cgroup, program));
        }
        Ok(process.loaded)
    }

    /// Keeps the cgroup of a process off that cannot be inspected. Its inspection
    /// is over.
    fn unseen(&mut self, pid: u32, cgroup: Option<u64>) -> Result<bool, MapError> {
        if let Some(cgroup) = cgroup.or_else(|| cgroup_of(pid)) {
            self.habits.keep_off(cgroup, Reason::Unseen)?;
        }
        Ok(true)
    }
}

/// The processes of a cgroup.
fn procs(cgroups: Option<&Hierarchy>, cgroup: u64) -> io::Result<Vec<u32>> {
    cgroups.ok_or(io::ErrorKind::Unsupported)?.procs(cgroup)
}

/// The cgroup that a process is in.
pub(super) fn cgroup_of(pid: u32) -> Option<u64> {
    let cgroup = Cgroup::of_process(&pid.to_string()).ok()?;
    cgroup.id().ok()
}

/// True when the environment of a process tells the loader what to load, or
/// where to look for it (ld.so(8)).
fn chooses_libraries(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/environ")).map_or(true, |environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(b"LD_"))
    })
}
