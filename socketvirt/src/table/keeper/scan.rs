//! The keeper's work: it puts notes into rows, scans, and takes away what is
//! over. One thread does all of it, so rows have one writer.

use std::{
    collections::{HashMap as Known, HashSet, VecDeque},
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use nix::time::{ClockId, clock_gettime};
use socketvirt_common::{
    reason::Reason,
    record::{
        event::{NOTES, Note, TableStats},
        flow::Path,
        pair::Enrolment,
        raw::Raw,
        row::Row,
        status::Status,
        stream::Joined,
    },
    rule::pace,
};

use super::maps::{map, rows};
use crate::{
    bpf::error::BpfError,
    host::bpffs::PinDir,
    table::{
        TableError,
        iterator::{Record, SocketIter, records},
        joiner::{self, Joiner},
        life, peers,
        ring::Ring,
        source::{self, Namespaces},
    },
    thread::Thread,
};

/// The time that the row of a closed socket stays.
const AFTER_THE_END: Duration = Duration::from_secs(30);

/// The time between two reads of the ring, between scans.
const TICK: Duration = Duration::from_millis(100);

/// Notes that are put into rows without waiting for the next scan.
const MANY: u64 = NOTES as u64 / 4;

/// The longest wait of a few notes for the next scan.
const LONGEST: Duration = Duration::from_secs(1);

/// Scans in short order after something was noted: an agent may act on a new
/// connection a little later, which nothing here is told of.
const SCANS_AFTER_NEWS: u32 = 3;

/// `BPF_ANY`: makes an entry or replaces it.
const ANY: u64 = 0;

/// The scans.
pub(super) struct Scan {
    iterators: Vec<(&'static str, SocketIter)>,
    sockets: HashMap<MapData, u64, Raw<Row>>,
    published: Array<MapData, TableStats>,
    ring: Ring,
    stats: TableStats,
    folded: Instant,
    /// Closed sockets that have a row, oldest first.
    closed: VecDeque<u64>,
    /// Sockets that have none.
    missing: HashSet<u64>,
    /// The readers of agents' knowledge, by the folder of each.
    joiners: Known<PathBuf, Joiner>,
    /// CPU time of the last pass that was spent on new agents.
    once: Duration,
}

/// A keeper's thread at work.
pub(super) struct Scanning {
    stop: Sender<()>,
    thread: Thread<Result<TableStats, TableError>>,
}

fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
    })
}

impl Scan {
    pub(super) fn of(
        ebpf: &mut Ebpf,
        iterators: Vec<(&'static str, SocketIter)>,
    ) -> Result<Self, TableError> {
        let mut ring = Ring::loaded(ebpf)?;
        // Hooks are at work already.
        ring.seek(0);
        let mut take = |name| ebpf.take_map(name).ok_or(BpfError::Missing(name));
        Ok(Self {
            iterators,
            sockets: HashMap::try_from(take("sv_sockets")?).map_err(map("opening sv_sockets"))?,
            published: Array::try_from(take("sv_table")?).map_err(map("opening sv_table"))?,
            ring,
            stats: TableStats::default(),
            folded: Instant::now(),
            closed: VecDeque::new(),
            missing: HashSet::new(),
            joiners: Known::new(),
            once: Duration::ZERO,
        })
    }

    /// Looks at every socket, then takes away what is over.
    pub(super) fn pass(&mut self) -> Result<(), TableError> {
        self.fold()?;
        let began = now();
        let mut without = self.visit()?;
        if !without.is_empty() && self.give_up(without.len()) > 0 {
            without = self.visit()?;
        }
        self.count_missing(without);
        let mut all = rows(&self.sockets);
        let before: Vec<_> = all.iter().map(shown).collect();
        let joined = self.joined();
        settle(&mut all, &joined);
        joiner::apply(&mut all, joined);
        peers::find(&mut all);
        for (mut row, before) in all.into_iter().zip(before) {
            let mut changed = shown(&row) != before;
            if row.status == Status::TERMINATED {
                let since = row.history.iter().last().map_or(row.seen, |step| step.at);
                let age = Duration::from_nanos(began.saturating_sub(since));
                if age > AFTER_THE_END {
                    // It may have been given up already.
                    let _ = self.sockets.remove(&row.id);
                    continue;
                }
            } else if row.seen < began {
                // Neither a note nor the scan has met it: it went unseen.
                row.status = Status::TERMINATED;
                row.history.note(now(), Status::TERMINATED, true);
                self.closed.push_back(row.id);
                changed = true;
            }
            if changed {
                let _ = self.sockets.insert(row.id, Raw::of(row), ANY);
            }
        }
        self.publish()
    }

    /// Has the kernel visit every socket; gives those that found no room.
    fn visit(&self) -> Result<Vec<u64>, TableError> {
        let mut output = Vec::new();
        source::visit(&self.iterators, &Namespaces::All, &mut output)?;
        Ok(records(&output)
            .filter_map(|record| match record {
                Record::Missing(id) => Some(id),
                _ => None,
            })
            .collect())
    }

    fn count_missing(&mut self, without: Vec<u64>) {
        let without: HashSet<u64> = without.into_iter().collect();
        let news = without.difference(&self.missing).count();
        self.stats.missing += news as u64;
        self.missing = without;
    }

    /// Reads the knowledge of the host's agents of their sockets.
    fn joined(&mut self) -> Vec<Joined> {
        let agents: Vec<PathBuf> = PinDir::existing()
            .unwrap_or_default()
            .iter()
            .filter(|pins| pins.is_complete())
            .map(|pins| pins.path().to_owned())
            .filter(|folder| folder.join("sv_flow").exists())
            .collect();
        self.joiners.retain(|folder, _| agents.contains(folder));
        let before = cpu_time();
        for folder in agents {
            if let std::collections::hash_map::Entry::Vacant(new) = self.joiners.entry(folder)
                && let Ok(joiner) = Joiner::open(new.key())
            {
                new.insert(joiner);
            }
        }
        // Once an agent, so it does not make the scans rarer.
        self.once += cpu_time().saturating_sub(before);
        // One that ends meanwhile adds nothing, as if it had ended before.
        self.joiners
            .values()
            .filter_map(|joiner| joiner.read(&Namespaces::All).ok())
            .flatten()
            .collect()
    }

    /// True when notes have waited for long enough.
    fn wants_folding(&self) -> bool {
        match self.ring.waiting() {
            0 => false,
            few if few < MANY => self.folded.elapsed() >= LONGEST,
            _ => true,
        }
    }

    /// Puts into rows what has been noted.
    pub(super) fn fold(&mut self) -> Result<(), TableError> {
        let mut notes = Vec::new();
        self.stats.lost += self.ring.read(&mut notes);
        let mut touched: Known<u64, Row> = Known::new();
        for note in &notes {
            self.put(&mut touched, note);
        }
        // Those that closed first are the first to be given up.
        let mut touched: Vec<Row> = touched.into_values().collect();
        touched.sort_by_key(|row| row.seen);
        peers::find(&mut touched);
        for row in touched {
            self.write(&row);
        }
        self.stats.noted = self.ring.position();
        self.folded = Instant::now();
        self.publish()
    }

    fn put(&self, touched: &mut Known<u64, Row>, note: &Note) {
        let row = match touched.entry(note.id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let known = self.sockets.get(&note.id, 0);
                let row = match known.and_then(|row| row.value()) {
                    Ok(row) => row,
                    Err(_) if life::begins(note) => Row {
                        id: note.id,
                        ..Row::EMPTY
                    },
                    Err(_) => return,
                };
                new.insert(row)
            }
        };
        let _ = life::apply(row, note);
    }

    /// Writes a row; when the map is full, the oldest of a closed socket makes
    /// room, and when there is none, the socket is missing.
    fn write(&mut self, row: &Row) {
        let over = row.status == Status::TERMINATED;
        let mut written = self.sockets.insert(row.id, Raw::of(*row), ANY).is_ok();
        if !written && self.give_up(1) > 0 {
            written = self.sockets.insert(row.id, Raw::of(*row), ANY).is_ok();
        }
        if !written {
            if self.missing.insert(row.id) {
                self.stats.missing += 1;
            }
        } else if over {
            self.closed.push_back(row.id);
        }
    }

    /// Gives up rows of closed sockets, oldest first; returns how many.
    fn give_up(&mut self, count: usize) -> usize {
        let mut given = 0;
        while given < count
            && let Some(oldest) = self.closed.pop_front()
        {
            // It may have had its time and be gone.
            if self.sockets.remove(&oldest).is_ok() {
                given += 1;
            }
        }
        self.stats.evicted += given as u64;
        given
    }

    fn publish(&mut self) -> Result<(), TableError> {
        // A row whose time is over goes without a word.
        while self
            .closed
            .front()
            .is_some_and(|id| self.sockets.get(id, 0).is_err())
        {
            self.closed.pop_front();
        }
        self.published
            .set(0, self.stats, 0)
            .map_err(map("writing sv_table"))
    }

    /// Scans in a thread of its own.
    pub(super) fn start(mut self, interval: Duration) -> Result<Scanning, TableError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = Thread::start("table", move || {
            let mut rest = Instant::now();
            let mut scan = Next::after(Duration::ZERO, interval);
            // Scans that come soon because something was noted.
            let mut news = SCANS_AFTER_NEWS;
            loop {
                if self.ring.waiting() > 0 {
                    news = SCANS_AFTER_NEWS;
                }
                let due = scan.due(news > 0);
                let wait = due.saturating_duration_since(Instant::now()).min(TICK);
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                        self.fold()?;
                        return Ok(self.stats);
                    }
                }
                let begun = Instant::now();
                let before = cpu_time();
                if begun >= due {
                    self.once = Duration::ZERO;
                    self.pass()?;
                    let cost = cpu_time().saturating_sub(before + self.once);
                    scan = Next::after(cost, interval);
                    news = news.saturating_sub(1);
                    rest = Instant::now();
                } else if begun >= rest && self.wants_folding() {
                    self.fold()?;
                    let cost = cpu_time().saturating_sub(before);
                    rest = Instant::now() + pace::pause(cost, TICK);
                }
            }
        })
        .map_err(TableError::Thread)?;
        Ok(Scanning { stop, thread })
    }
}

/// When the next scan is due.
struct Next {
    soon: Instant,
    later: Instant,
}

impl Next {
    /// After one that took `cost` of CPU time.
    fn after(cost: Duration, interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            soon: now + pace::pause(cost, interval),
            later: now + pace::rest(cost, interval),
        }
    }

    fn due(&self, news: bool) -> Instant {
        if news { self.soon } else { self.later }
    }
}

/// Returns what agents and other rows say of a row.
fn shown(row: &Row) -> (u64, Path, Reason, Enrolment, u64, u64) {
    let send = &row.send;
    let traffic = &send.traffic;
    (
        row.remote.id,
        send.path,
        send.reason,
        send.enrolment,
        traffic.fast_messages,
        traffic.stack_bytes,
    )
}

/// A row that no agent knows any more is of a plain socket.
fn settle(all: &mut [Row], joined: &[Joined]) {
    let known: HashSet<u64> = joined.iter().map(|one| one.id).collect();
    for row in all {
        if row.status != Status::TERMINATED && !known.contains(&row.id) {
            row.send.path = Path::Stack;
            row.send.reason = Reason::None;
            row.send.enrolment = Enrolment::None;
        }
    }
}

impl Scanning {
    /// A descriptor that poll(2) reports once the scans have ended.
    pub(super) fn end_of_thread(&self) -> BorrowedFd<'_> {
        self.thread.end()
    }

    /// True once the scans have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.has_ended()
    }

    /// Ends them.
    pub(super) fn end(self) -> Result<TableStats, TableError> {
        drop(self.stop);
        self.thread.join()?
    }
}

/// CPU time of the process's threads that scan: one at a time does.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
