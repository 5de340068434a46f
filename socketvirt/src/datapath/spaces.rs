//! Network namespaces by number: opened when a socket in one wants to change,
//! and closed again at once, so that none lives longer than its users.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::host::namespaces::{self, NetNamespace};

/// The pause before namespaces that were not found are looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// Where namespaces were found.
pub struct Spaces {
    own: Option<NetNamespace>,
    paths: HashMap<u32, PathBuf>,
    /// When a namespace was looked for in vain.
    missed: HashMap<u32, Instant>,
}

impl Spaces {
    /// Knows that of the calling thread.
    #[must_use]
    pub fn new() -> Self {
        Self {
            own: NetNamespace::own().ok(),
            paths: HashMap::new(),
            missed: HashMap::new(),
        }
    }

    /// The namespace that the thread belongs to.
    #[must_use]
    pub fn own(&self) -> Option<&NetNamespace> {
        self.own.as_ref()
    }

    /// Opens the namespace with this number; none when no process and no file
    /// of ip-netns(8) shows it.
    pub fn open(&mut self, number: u32) -> Option<NetNamespace> {
        if let Some(path) = self.paths.get(&number) {
            let found = NetNamespace::open(path).ok();
            if let Some(found) = found.filter(|found| found.inode() == u64::from(number)) {
                return Some(found);
            }
        }
        if self
            .missed
            .get(&number)
            .is_some_and(|at| at.elapsed() < AGAIN)
        {
            return None;
        }
        self.look();
        let found = self.paths.get(&number).and_then(|path| {
            let found = NetNamespace::open(path).ok()?;
            (found.inode() == u64::from(number)).then_some(found)
        });
        if found.is_none() {
            self.missed.insert(number, Instant::now());
        } else {
            self.missed.remove(&number);
        }
        found
    }

    /// Opens every namespace that is found, one after another.
    pub fn each(&mut self, mut visit: impl FnMut(&NetNamespace)) {
        self.look();
        for path in self.paths.values() {
            if let Ok(namespace) = NetNamespace::open(path) {
                visit(&namespace);
            }
        }
    }

    /// Looks for all of them.
    fn look(&mut self) {
        self.paths.clear();
        self.missed.retain(|_, at| at.elapsed() < AGAIN);
        let processes = namespaces::processes().map(|pid| format!("/proc/{pid}/ns/net").into());
        for path in processes.chain(namespaces::named()) {
            let Ok(found) = fs::metadata::<&PathBuf>(&path) else {
                continue;
            };
            if let Ok(number) = u32::try_from(found.ino()) {
                self.paths.entry(number).or_insert(path);
            }
        }
    }
}

impl Default for Spaces {
    fn default() -> Self {
        Self::new()
    }
}
