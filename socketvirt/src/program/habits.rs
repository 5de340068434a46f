//! Habits by executable: what a program has shown in one cgroup is true of it
//! in the next one, as when a service is started again.
//!
//! The kernel side remembers by cgroup, port and side ([`Program`]), as nothing
//! else can be told of a socket at any moment. Here the processes behind a new
//! habit are found, and their executable; a process that runs it in another
//! cgroup brings the habit there, before any of its sockets is enrolled.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use aya_obj::generated::BPF_NOEXIST;
use procfs::{
    ProcResult,
    net::{TcpNetEntry, TcpState},
    process::{FDTarget, Process},
};
use socketvirt_common::{
    reason::Reason,
    record::{pair::Side, program::Program, raw::Raw},
    rule::pace::Budget,
};

use crate::thread;

/// Executables and habits that are remembered, at most; with more, all are
/// forgotten.
const MANY: usize = 4096;

/// The time for which the program behind a habit is looked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// An executable, also in another container made from the same image: its path
/// as its process sees it, and its size and last change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Executable {
    path: PathBuf,
    size: u64,
    changed: (i64, i64),
}

impl Executable {
    fn of(pid: u32) -> io::Result<Self> {
        let link = format!("/proc/{pid}/exe");
        let found = fs::metadata(&link)?;
        Ok(Self {
            path: fs::read_link(&link)?,
            size: found.size(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// A service, and the part that a program has in it.
type Part = (u16, Side);

/// The TCP sockets of a process, as far as they matter here.
#[derive(Debug, Default)]
struct Sockets {
    /// Ports that it listens at.
    serves: HashSet<u16>,
    /// Those that it is connected to, from a port at which nobody listens.
    uses: HashSet<u16>,
}

/// The habits, and the programs that have them.
pub struct Habits {
    map: BpfHashMap<MapData, Raw<Program>, Raw<Reason>>,
    /// Habits whose programs are not looked for, or not any more.
    known: HashSet<Program>,
    /// When the others were first looked for.
    sought: HashMap<Program, Instant>,
    executables: HashMap<Executable, HashMap<Part, Reason>>,
    /// The CPU time that looking for processes may take.
    budget: Budget,
    /// When the budget was last added to.
    earned: Instant,
}

impl Habits {
    /// Nothing is known of executables yet.
    #[must_use]
    pub fn new(map: BpfHashMap<MapData, Raw<Program>, Raw<Reason>>) -> Self {
        Self {
            map,
            known: HashSet::new(),
            sought: HashMap::new(),
            executables: HashMap::new(),
            budget: Budget::default(),
            earned: Instant::now(),
        }
    }

    /// Keeps all sockets of a cgroup off. That one of its programs may splice, for which
    /// somebody may vouch, gives way to any other reason.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn keep_off(&mut self, cgroup: u64, reason: Reason) -> Result<(), MapError> {
        let flags = if reason == Reason::MaySplice {
            u64::from(BPF_NOEXIST)
        } else {
            0
        };
        let program = Raw::of(Program::any_of(cgroup));
        match self.map.insert(program, Raw::of(reason), flags) {
            Err(error) if exists(&error) => Ok(()),
            done => done,
        }
    }

    /// Finds the executables behind habits that are new; `procs` lists a
    /// cgroup's processes. Returns false when it shall look again soon: the budget is
    /// spent, or a habit is without a program, which may be between two connections.
    pub fn learn(&mut self, procs: impl Fn(u64) -> io::Result<Vec<u32>>) -> bool {
        self.budget.earn(self.earned.elapsed());
        self.earned = Instant::now();
        if !self.budget.wait().is_zero() {
            return false;
        }
        let began = thread::cpu_time();
        for (cgroup, parts) in self.news() {
            for pid in procs(cgroup).unwrap_or_default() {
                // It may have ended meanwhile.
                let (Ok(sockets), Ok(executable)) = (Sockets::of(pid), Executable::of(pid)) else {
                    continue;
                };
                self.shown_by(executable, cgroup, sockets.parts_of(&parts));
            }
        }
        self.budget.spend(thread::cpu_time().saturating_sub(began));
        self.sought.is_empty()
    }

    /// The habits whose programs are still to be found, by cgroup.
    fn news(&mut self) -> HashMap<u64, HashMap<Part, Reason>> {
        let mut news: HashMap<u64, HashMap<Part, Reason>> = HashMap::new();
        let (mut known, mut sought) = (HashSet::new(), HashMap::new());
        for (program, reason) in self.map.iter().filter_map(Result::ok) {
            let (Ok(program), Ok(reason)) = (program.value(), reason.value()) else {
                continue;
            };
            let since = self.sought.get(&program).copied();
            let since = since.unwrap_or_else(Instant::now);
            // Executables that may splice are known as such. A vouch is void for this
            // program alone.
            let any = program == Program::any_of(program.cgroup) || reason == Reason::VouchVoid;
            match u16::try_from(program.port) {
                Ok(port)
                    if !any && !self.known.contains(&program) && since.elapsed() < PATIENCE =>
                {
                    let parts = news.entry(program.cgroup).or_default();
                    parts.insert((port, program.side), reason);
                    sought.insert(program, since);
                }
                _ => {
                    known.insert(program);
                }
            }
        }
        (self.known, self.sought) = (known, sought);
        news
    }

    /// An executable has shown these in a cgroup.
    fn shown_by(&mut self, executable: Executable, cgroup: u64, parts: HashMap<Part, Reason>) {
        if parts.is_empty() {
            return;
        }
        for &(port, side) in parts.keys() {
            let program = Program {
                cgroup,
                port: port.into(),
                side,
            };
            self.sought.remove(&program);
            self.known.insert(program);
        }
        if self.executables.values().map(HashMap::len).sum::<usize>() >= MANY {
            self.executables.clear();
        }
        self.executables
            .entry(executable)
            .or_default()
            .extend(parts);
    }

    /// Brings what the executable of a process has shown into its cgroup.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn recall(
        &mut self,
        pid: u32,
        cgroup: impl FnOnce() -> Option<u64>,
    ) -> Result<(), MapError> {
        if self.executables.is_empty() {
            return Ok(());
        }
        let shown = Executable::of(pid)
            .ok()
            .and_then(|executable| self.executables.get(&executable));
        let Some((shown, cgroup)) = shown.zip(cgroup()) else {
            return Ok(());
        };
        for (&(port, side), &reason) in shown {
            let program = Program {
                cgroup,
                port: port.into(),
                side,
            };
            if !self.known.contains(&program) {
                self.map.insert(Raw::of(program), Raw::of(reason), 0)?;
                self.known.insert(program);
            }
        }
        Ok(())
    }
}

/// True when an entry was not made because there is one.
fn exists(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::EEXIST))
}

impl Sockets {
    /// Those that a process has open.
    fn of(pid: u32) -> ProcResult<Self> {
        let process = Process::new(i32::try_from(pid).unwrap_or(0))?;
        let mut open = HashSet::new();
        for descriptor in process.fd()?.flatten() {
            if let FDTarget::Socket(inode) = descriptor.target {
                open.insert(inode);
            }
        }
        if open.is_empty() {
            return Ok(Self::default());
        }
        let mut all = process.tcp()?;
        // Missing without IPv6.
        all.extend(process.tcp6().unwrap_or_default());
        let listens = |entry: &TcpNetEntry| entry.state == TcpState::Listen;
        let listened: HashSet<_> = all
            .iter()
            .filter(|entry| listens(entry))
            .map(|entry| entry.local_address.port())
            .collect();
        let mut sockets = Self::default();
        for entry in all.iter().filter(|entry| open.contains(&entry.inode)) {
            let local = entry.local_address.port();
            if listens(entry) {
                sockets.serves.insert(local);
            } else if !listened.contains(&local) {
                sockets.uses.insert(entry.remote_address.port());
            }
        }
        Ok(sockets)
    }

    /// Which of these parts their process has. What is remembered of either side
    /// of a connection names a client's own port too, which is no service.
    fn parts_of(&self, shown: &HashMap<Part, Reason>) -> HashMap<Part, Reason> {
        let has = |&(port, side): &Part| match side {
            Side::Server => self.serves.contains(&port),
            Side::Client => self.uses.contains(&port),
        };
        let own = shown.iter().filter(|(part, _)| has(part));
        own.map(|(part, reason)| (*part, *reason)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_clients_own_port_is_no_service() {
        const SERVICE: u16 = 80;
        const EPHEMERAL: u16 = 40_000;
        // As the kernel side remembers a connection whose side it does not know.
        let shown: HashMap<Part, Reason> = [SERVICE, EPHEMERAL]
            .into_iter()
            .flat_map(|port| [Side::Client, Side::Server].map(|side| (port, side)))
            .map(|part| (part, Reason::WaitAll))
            .collect();
        let parts = |sockets: &Sockets| sockets.parts_of(&shown).into_keys().collect::<Vec<_>>();
        let only = |port| HashSet::from([port]);
        let server = Sockets {
            serves: only(SERVICE),
            ..Sockets::default()
        };
        assert_eq!(parts(&server), [(SERVICE, Side::Server)]);
        let client = Sockets {
            uses: only(SERVICE),
            ..Sockets::default()
        };
        assert_eq!(parts(&client), [(SERVICE, Side::Client)]);
        assert_eq!(parts(&Sockets::default()), []);
    }

    /// Somebody may vouch that the programs of a cgroup do not splice, and for nothing
    /// else that is known of them.
    #[test]
    fn what_nobody_can_vouch_for_is_kept() {
        const CGROUP: u64 = 1;
        let mut habits = Habits::new(BpfHashMap::create(16, 0).unwrap());
        let any = Raw::of(Program::any_of(CGROUP));
        let mut keep_off = |reason| {
            habits.keep_off(CGROUP, reason).unwrap();
            habits.map.get(&any, 0).unwrap().value().unwrap()
        };
        assert_eq!(keep_off(Reason::MaySplice), Reason::MaySplice);
        assert_eq!(keep_off(Reason::Ring), Reason::Ring);
        assert_eq!(keep_off(Reason::MaySplice), Reason::Ring);
        assert_eq!(keep_off(Reason::Unseen), Reason::Unseen);
    }

    /// A vouch is void for one program in one cgroup.
    #[test]
    fn a_void_vouch_is_not_brought_elsewhere() {
        let own = std::process::id();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut habits = Habits::new(BpfHashMap::create(16, 0).unwrap());
        let shown_in = |cgroup| Program {
            cgroup,
            port: listener.local_addr().unwrap().port().into(),
            side: Side::Server,
        };
        let void = Raw::of(Reason::VouchVoid);
        habits.map.insert(Raw::of(shown_in(1)), void, 0).unwrap();
        assert!(habits.learn(|_| Ok(vec![own])));
        habits.recall(own, || Some(2)).unwrap();
        assert!(habits.map.get(&Raw::of(shown_in(2)), 0).is_err());
    }

    /// Clients often show something on a connection that they close at once.
    #[test]
    fn a_program_between_two_connections_is_found() {
        const CGROUP: u64 = 1;
        const OTHER: u64 = 2;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().into();
        let shown_in = |cgroup| Program {
            cgroup,
            port,
            side: Side::Client,
        };
        let mut habits = Habits::new(BpfHashMap::create(16, 0).unwrap());
        let discards = Raw::of(Reason::Discards);
        habits
            .map
            .insert(Raw::of(shown_in(CGROUP)), discards, 0)
            .unwrap();
        let own = std::process::id();
        let procs = |_| Ok(vec![own]);
        assert!(!habits.learn(procs), "who connects to nothing has the part");
        let _client =
            TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
        // What this took is owed where machines are slow.
        habits.budget = Budget::default();
        assert!(habits.learn(procs), "it is looked for again");
        habits.recall(own, || Some(OTHER)).unwrap();
        let recalled = habits.map.get(&Raw::of(shown_in(OTHER)), 0).unwrap();
        assert_eq!(recalled.value().unwrap(), Reason::Discards);
    }

    /// Nor is one for whom there was no time.
    #[test]
    fn what_the_budget_did_not_allow_is_left() {
        let mut habits = Habits::new(BpfHashMap::create(16, 0).unwrap());
        habits.budget.spend(Duration::from_hours(1));
        assert!(!habits.learn(|_| Ok(Vec::new())));
        habits.budget = Budget::default();
        assert!(habits.learn(|_| Ok(Vec::new())));
    }

    #[test]
    fn the_own_sockets() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let service = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", service)).unwrap();
        let _accepted = listener.accept().unwrap();
        let found = Sockets::of(std::process::id()).unwrap();
        assert!(found.serves.contains(&service), "{found:?}");
        assert!(found.uses.contains(&service), "{found:?}");
        let own = client.local_addr().unwrap().port();
        assert!(!found.uses.contains(&own), "{found:?}");
        assert_eq!(
            Executable::of(std::process::id()).unwrap().path,
            std::env::current_exe().unwrap()
        );
    }
}
