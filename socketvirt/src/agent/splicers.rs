//! Programs that may splice.
//!
//! splice(2) gets nothing out of an enrolled socket, and one that is already
//! enrolled cannot leave while its program only splices: what is queued is
//! never read. So a program that could is found before any of its sockets is
//! enrolled: by its executable, and the libraries that it has loaded. All
//! sockets of its cgroup are then left on the stack.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use socketvirt_common::{habit::Program, reason::Reason};

use crate::kernel::{
    cgroup::Cgroup,
    executable::{self, ExecutableError},
};

/// How often the libraries of known processes are looked at again: a program
/// can load more at any time.
const LIBRARIES_EVERY: Duration = Duration::from_secs(1);

/// A file, whatever its names.
type FileId = (u64, u64);

/// What is known of executables and libraries.
#[derive(Default)]
struct Files(HashMap<FileId, bool>);

/// What is known of executables, processes and cgroups.
pub struct Splicers {
    habits: BpfHashMap<MapData, Program, Reason>,
    files: Files,
    processes: HashMap<u32, FileId>,
    libraries_looked: Option<Instant>,
}

impl Splicers {
    /// Knows nothing yet; what it finds goes into `habits`.
    #[must_use]
    pub fn new(habits: BpfHashMap<MapData, Program, Reason>) -> Self {
        Self {
            habits,
            files: Files::default(),
            processes: HashMap::new(),
            libraries_looked: None,
        }
    }

    /// Looks at these processes. Those that end meanwhile are left out.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn look(&mut self, pids: impl IntoIterator<Item = u32>) -> Result<(), MapError> {
        let again = self
            .libraries_looked
            .is_none_or(|at| at.elapsed() >= LIBRARIES_EVERY);
        if again {
            self.libraries_looked = Some(Instant::now());
        }
        let before = std::mem::take(&mut self.processes);
        for pid in pids {
            let program = PathBuf::from(format!("/proc/{pid}/exe"));
            // Kernel threads have none.
            let Ok(id) = id_of(&program) else { continue };
            let is_new = before.get(&pid) != Some(&id);
            self.processes.insert(pid, id);
            let mut may_splice = self.files.may_splice(id, &program);
            if !may_splice && (is_new || again) {
                may_splice = libraries(pid)
                    .unwrap_or_default()
                    .into_iter()
                    .any(|(id, library)| self.files.may_splice(id, &library));
            }
            if may_splice
                && let Ok(cgroup) = Cgroup::of_process(&pid.to_string()).and_then(|c| c.id())
            {
                self.habits
                    .insert(Program::any_of(cgroup), Reason::MaySplice, 0)?;
            }
        }
        Ok(())
    }
}

impl Files {
    /// What cannot be read is taken to splice, unless its process has ended.
    fn may_splice(&mut self, id: FileId, path: &Path) -> bool {
        if let Some(known) = self.0.get(&id) {
            return *known;
        }
        let judged = match executable::may_splice(path) {
            Ok(judged) => judged,
            // Of the file itself nothing is known then.
            Err(ExecutableError::Open { .. }) if !path.exists() => return false,
            Err(_) => true,
        };
        self.0.insert(id, judged);
        judged
    }
}

fn id_of(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
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
        let id = (1, 2);
        assert!(!files.may_splice(id, Path::new("/proc/0/exe")));
        // Nor does it decide for the next one that runs it.
        assert!(files.may_splice(id, Path::new("/etc/passwd")));
    }

    #[test]
    fn the_own_libraries() {
        let found = libraries(std::process::id()).unwrap();
        let own = id_of(Path::new("/proc/self/exe")).unwrap();
        assert!(found.iter().any(|(id, _)| *id == own));
        assert!(found.len() > 1, "no library: {found:?}");
    }
}
