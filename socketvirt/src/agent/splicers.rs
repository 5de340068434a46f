//! Programs that may splice.
//!
//! splice(2) gets nothing out of an enrolled socket, and one that is already
//! enrolled cannot leave while its program only splices: what is queued is
//! never read. So a program that could is found before any of its sockets is
//! enrolled: by its executable, and the libraries that it has loaded. All
//! sockets of its cgroup are then left on the stack.
//!
//! While a program of a cgroup was not looked at since it began, nothing of
//! that cgroup is enrolled ([`super::begun`]): a look comes at once, and once
//! more when the program's libraries are loaded.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::maps::MapError;
use socketvirt_common::{looked, reason::Reason};

use super::{
    begun::{Begun, Unlooked},
    habits::Habits,
};
use crate::kernel::{
    cgroup::Cgroup,
    cgroup_id::{self, Hierarchy},
    executable::{self, ExecutableError},
    loader::{self, Loading},
};

/// How often the libraries of known processes are looked at again: a program
/// can load more at any time.
const LIBRARIES_EVERY: Duration = Duration::from_secs(1);

/// How long a program that keeps no record of its loading is taken to load.
const LOADING: Duration = Duration::from_secs(1);

/// Programs of cgroups that are remembered to be harmless, at most.
const MANY_HARMLESS: usize = 4096;

/// A file as it is, whatever its names: device, inode, and when it was last
/// changed, because an inode is used again.
type FileId = (u64, u64, i64, i64);

/// What is known of executables and libraries.
#[derive(Default)]
struct Files {
    splice: HashMap<FileId, bool>,
    sockets: HashMap<FileId, bool>,
    /// How long it took to read those that were not known.
    reading: Duration,
}

/// What is known of a process.
#[derive(Clone, Copy)]
struct Process {
    program: FileId,
    since: Instant,
    /// Its libraries were there when it was looked at.
    loaded: bool,
}

/// What is known of executables, processes and cgroups.
pub struct Splicers {
    habits: Habits,
    begun: Option<Begun>,
    cgroups: Option<Hierarchy>,
    files: Files,
    processes: HashMap<u32, Process>,
    /// Programs that loaded nothing that splices, by cgroup.
    harmless: HashSet<(u64, FileId)>,
    libraries_looked: Option<Instant>,
    unfinished: bool,
}

impl Splicers {
    /// Knows nothing yet; what it finds goes into `habits`. Without `begun`,
    /// programs are found by [`Splicers::look`] alone.
    #[must_use]
    pub fn new(habits: Habits, begun: Option<Begun>) -> Self {
        Self {
            habits,
            begun,
            cgroups: Hierarchy::open().ok(),
            files: Files::default(),
            processes: HashMap::new(),
            harmless: HashSet::new(),
            libraries_looked: None,
            unfinished: false,
        }
    }

    /// What tells of programs that begin.
    #[must_use]
    pub fn begun(&self) -> Option<&Begun> {
        self.begun.as_ref()
    }

    /// How long files took that were read for the first time.
    #[must_use]
    pub fn reading(&self) -> Duration {
        self.files.reading
    }

    /// Whether the last look met a program that was still loading.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Looks at these processes, and says whether none is still loading. Those
    /// that end meanwhile are left out.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn look(&mut self, pids: impl IntoIterator<Item = u32>) -> Result<bool, MapError> {
        let again = self
            .libraries_looked
            .is_none_or(|at| at.elapsed() >= LIBRARIES_EVERY);
        if again {
            self.libraries_looked = Some(Instant::now());
        }
        let mut complete = true;
        let mut seen = HashSet::new();
        for pid in pids {
            seen.insert(pid);
            complete &= self.look_at(pid, None, again)?;
        }
        self.processes.retain(|pid, _| seen.contains(pid));
        Ok(complete)
    }

    /// Looks at the processes of the cgroups in which programs have begun;
    /// `all` gives those of every cgroup.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub fn look_at_begun(&mut self, all: impl Fn() -> Vec<u32>) -> Result<(), MapError> {
        self.unfinished = false;
        let cgroups = self.cgroups.as_ref();
        self.habits.learn(|id| procs(cgroups, id));
        let Some(mut begun) = self.begun.take() else {
            return Ok(());
        };
        let result = begun
            .unlooked()
            .into_iter()
            .try_for_each(|at| self.look_into(at, &mut begun, &all));
        self.begun = Some(begun);
        result
    }

    fn look_into(
        &mut self,
        at: Unlooked,
        begun: &mut Begun,
        all: impl Fn() -> Vec<u32>,
    ) -> Result<(), MapError> {
        let known = (at.cgroup != looked::ANY).then_some(at.cgroup);
        let pids = match known.map(|id| procs(self.cgroups.as_ref(), id)) {
            Some(Ok(pids)) => pids,
            Some(Err(error)) if cgroup_id::is_gone(&error) => {
                begun.forget(at.cgroup);
                return Ok(());
            }
            // It may be threaded, or out of reach.
            Some(Err(_)) | None => all(),
        };
        let mut complete = true;
        for pid in pids {
            complete &= self.look_at(pid, known, false)?;
        }
        if complete {
            begun.looked_at(at)?;
        } else {
            self.unfinished = true;
        }
        Ok(())
    }

    /// Looks at a process, if it was not looked at as it is; `again` also when
    /// it was. Says whether what it has loaded was all there.
    fn look_at(&mut self, pid: u32, cgroup: Option<u64>, again: bool) -> Result<bool, MapError> {
        let path = PathBuf::from(format!("/proc/{pid}/exe"));
        // Kernel threads have none, nor has what has ended.
        let Ok(program) = id_of(&path) else {
            return Ok(true);
        };
        let known = self.processes.get(&pid).copied();
        let known = known.filter(|known| known.program == program);
        // What is new here: the program, or its cgroup.
        if known.is_none() || cgroup.is_some() {
            let cgroup = || cgroup.or_else(|| cgroup_of(pid));
            self.habits.recall(pid, cgroup)?;
            if has_ring(pid)
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
            // It loads what it has loaded before, and the next scan looks.
            if let Some(cgroup) = cgroup
                && self.harmless.contains(&(cgroup, program))
                && !chooses_libraries(pid)
            {
                return Ok(true);
            }
            // In this order: what is loaded later is not in the list.
            loaded = match loader::loading(pid) {
                Ok(Loading::Done) => true,
                Ok(Loading::UnderWay) => false,
                Ok(Loading::Unknown) => since.elapsed() >= LOADING,
                Err(_) => !path.exists() || since.elapsed() >= LOADING,
            };
            // The executable is among them.
            may_splice = self
                .files
                .may_splice_sockets(&libraries(pid).unwrap_or_default());
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
}

/// The processes of a cgroup.
fn procs(cgroups: Option<&Hierarchy>, cgroup: u64) -> io::Result<Vec<u32>> {
    cgroups.ok_or(io::ErrorKind::Unsupported)?.procs(cgroup)
}

/// The cgroup that a process is in.
fn cgroup_of(pid: u32) -> Option<u64> {
    let cgroup = Cgroup::of_process(&pid.to_string()).ok()?;
    cgroup.id().ok()
}

/// Whether a process has an `io_uring` by now; those that are made later are
/// told by the kernel side.
fn has_ring(pid: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == "anon_inode:[io_uring]")
}

impl Files {
    /// Whether a process with the code of these files can splice from a socket:
    /// a tool that only splices between pipes is no danger to its neighbours.
    fn may_splice_sockets(&mut self, files: &[(FileId, PathBuf)]) -> bool {
        let any = |known: &mut HashMap<_, _>, rule: Rule, reading: &mut Duration| {
            files
                .iter()
                .any(|(id, path)| judged(known, *id, path, rule, reading))
        };
        any(&mut self.splice, executable::may_splice, &mut self.reading)
            && any(
                &mut self.sockets,
                executable::may_have_sockets,
                &mut self.reading,
            )
    }
}

/// What is asked of a file.
type Rule = fn(&Path) -> Result<bool, ExecutableError>;

/// Asks each file once. What cannot be read is taken to be dangerous, unless
/// its process has ended.
fn judged(
    known: &mut HashMap<FileId, bool>,
    id: FileId,
    path: &Path,
    rule: Rule,
    reading: &mut Duration,
) -> bool {
    if let Some(known) = known.get(&id) {
        return *known;
    }
    let began = Instant::now();
    let judged = match rule(path) {
        Ok(judged) => judged,
        // Of the file itself nothing is known then.
        Err(ExecutableError::Open { .. }) if !path.exists() => return false,
        Err(_) => true,
    };
    known.insert(id, judged);
    *reading += began.elapsed();
    judged
}

fn id_of(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|found| (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// Whether the environment of a process tells the loader what to load, or
/// where to look for it (ld.so(8)).
fn chooses_libraries(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/environ")).map_or(true, |environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(b"LD_"))
    })
}

/// The files that a process has mapped as code, by paths that hold whatever
/// the root directory of the process is (proc(5), `map_files`).
fn libraries(pid: u32) -> io::Result<Vec<(FileId, PathBuf)>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(code(&maps)
        .map(|range| PathBuf::from(format!("/proc/{pid}/map_files/{range}")))
        .filter_map(|path| id_of(&path).ok().map(|id| (id, path)))
        .collect())
}

/// The address ranges of `/proc/<pid>/maps` that are code of a file.
fn code(maps: &str) -> impl Iterator<Item = &str> {
    maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let range = words.next()?;
        let is_code = words.next()?.contains('x');
        // Offset, device, inode: 0 for memory that is of no file.
        let inode = words.nth(2)?;
        (is_code && inode != "0").then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_only() {
        let maps = "\
55d0-55d1 r--p 00000000 fe:00 131 /usr/bin/cat
55d1-55d2 r-xp 00001000 fe:00 131 /usr/bin/cat
7ffd-7ffe rw-p 00000000 00:00 0 [stack]
7fff-8000 r-xp 00000000 00:00 0 [vdso]
";
        assert_eq!(code(maps).collect::<Vec<_>>(), ["55d1-55d2"]);
    }

    /// A process that ends while it is looked at says nothing of its file.
    #[test]
    fn a_process_that_has_ended() {
        let mut files = Files::default();
        let id = (1, 2, 3, 4);
        assert!(!files.may_splice_sockets(&[(id, "/proc/0/exe".into())]));
        // Nor does it decide for the next one that runs it.
        assert!(files.may_splice_sockets(&[(id, "/etc/passwd".into())]));
    }

    #[test]
    fn the_own_libraries() {
        let found = libraries(std::process::id()).unwrap();
        let own = id_of(Path::new("/proc/self/exe")).unwrap();
        assert!(found.iter().any(|(id, _)| *id == own));
        assert!(found.len() > 1, "no library: {found:?}");
    }
}
