//! Following events: what happens to sockets, as it happens.
//!
//! Every follower reads the rings of all agents at work, each at a position of
//! its own, so any number of them see everything. One that is too slow loses
//! events, which it counts, and nobody waits for it.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;
use socketvirt_common::{
    reason::Reason,
    record::{
        event::{Note, What},
        pair::HandshakeId,
        row::{Row, State},
        status::Status,
    },
};

use super::{
    TableError, keeper, life,
    names::escape,
    ring::Ring,
    words::{Word, text},
};
use crate::host::bpffs::PinDir;

/// The time that the reader sleeps when there is nothing.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Clients whose server's end is waited for, at most.
const SHAKES: usize = 65_536;

/// One event, as it is printed.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Version of this structure.
    pub schema: u32,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// `status`, `pair`, `adopt`, `release`, `keep`.
    pub event: &'static str,
    /// The socket.
    pub id: u64,
    /// The other end, where it is known.
    pub peer: Option<u64>,
    /// The status before, of `status`.
    pub from: Option<&'static str>,
    /// The status now, of `status`.
    pub to: Option<&'static str>,
    /// Why, of `release` and `keep`.
    pub reason: Option<&'static str>,
    /// Own port.
    pub local_port: u32,
    /// Other port.
    pub remote_port: u32,
    /// True when a scan found it, some time after it happened.
    pub scanned: bool,
    /// The process, where it is known.
    pub pid: Option<u32>,
    /// Its name.
    pub command: Option<String>,
}

impl Shown {
    fn of(note: &Note, row: Option<&Row>, event: &'static str) -> Self {
        let owner = row.map(|row| &row.owner).filter(|owner| owner.pid != 0);
        let peer = row.map_or(0, |row| row.remote.id);
        Self {
            schema: super::SCHEMA,
            at: note.at,
            event,
            id: note.id,
            peer: (peer != 0).then_some(peer),
            from: None,
            to: None,
            reason: None,
            local_port: row.map_or(0, |row| row.local.port),
            remote_port: row.map_or(0, |row| row.remote.port),
            scanned: note.what == What::SCANNED,
            pid: owner.map(|owner| owner.pid),
            command: owner.map(|owner| text(&owner.command)),
        }
    }

    fn with(mut self, peer: u64, reason: Reason) -> Self {
        self.peer = (peer != 0).then_some(peer).or(self.peer);
        self.reason = (reason != Reason::None).then(|| reason.word());
        self
    }

    /// One line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let seconds = Duration::from_nanos(self.at);
        let what = match (self.from, self.to) {
            (Some(from), Some(to)) if from == to => format!("{to:<12}"),
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            _ => match self.reason {
                Some(reason) => format!("{} ({reason})", self.event),
                None => self.event.to_owned(),
            },
        };
        let peer = self
            .peer
            .map_or_else(String::new, |peer| format!(" with {peer}"));
        let who = match (&self.command, self.pid) {
            (Some(command), Some(pid)) => format!(" {}({pid})", escape(command.as_bytes())),
            _ => String::new(),
        };
        let scanned = if self.scanned {
            " (found by a scan)"
        } else {
            ""
        };
        format!(
            "{:>12}.{:06} {:>10} :{} :{}{who} {what}{peer}{scanned}",
            seconds.as_secs(),
            seconds.subsec_micros(),
            self.id,
            self.local_port,
            self.remote_port
        )
    }
}

/// A reader of the rings of all agents at work.
#[derive(Default)]
pub struct Follower {
    rings: HashMap<PathBuf, Ring>,
    /// The sockets that events have been of, and those from before.
    rows: HashMap<u64, Row>,
    /// Clients by the handshake that names their connection.
    shakes: HashMap<HandshakeId, u64>,
    /// Read from rings that have gone.
    notes: Vec<Note>,
    lost: u64,
    begun: bool,
}

impl Follower {
    /// Of all agents that run now.
    ///
    /// # Errors
    /// When a ring cannot be opened.
    pub fn of_agents() -> Result<Self, TableError> {
        let mut follower = Self::default();
        follower.refresh()?;
        follower.begun = true;
        Ok(follower)
    }

    /// Looks for agents that have come or gone.
    ///
    /// # Errors
    /// When a ring cannot be opened.
    pub fn refresh(&mut self) -> Result<(), TableError> {
        let kept = keeper::kept();
        let agents = PinDir::existing().unwrap_or_default();
        let folders: HashSet<PathBuf> = agents
            .iter()
            .filter(|pins| pins.is_complete() && pins.owner_alive())
            .filter(|pins| pins.path().join("sv_cursor").exists())
            .map(|pins| pins.path().to_owned())
            .chain(kept.clone())
            .collect();
        for (_, mut ring) in self.rings.extract_if(|folder, _| !folders.contains(folder)) {
            // Its last words.
            self.lost += ring.read(&mut self.notes);
        }
        for folder in folders {
            let mut ring = match Ring::pinned(&folder) {
                Ok(ring) => ring,
                // It has gone meanwhile.
                Err(_) if !folder.join("sv_cursor").exists() => continue,
                Err(error) => return Err(error),
            };
            if self
                .rings
                .get(&folder)
                .is_some_and(|known| known.id() == ring.id())
            {
                continue;
            }
            // Notes of an agent from before it was found are news too, unless it
            // was there before.
            if self.begun {
                ring.seek(0);
            }
            if Some(&folder) == kept.as_ref() {
                let rows = keeper::Maps::open(&folder)?.rows();
                let living = rows
                    .into_iter()
                    .filter(|row| row.status != Status::TERMINATED);
                self.rows.extend(living.map(|row| (row.id, row)));
            }
            self.rings.insert(folder, ring);
        }
        Ok(())
    }

    /// The events that are there, oldest first.
    pub fn read(&mut self) -> Vec<Shown> {
        let mut notes = std::mem::take(&mut self.notes);
        for ring in self.rings.values_mut() {
            self.lost += ring.read(&mut notes);
        }
        notes.sort_by_key(|note| note.at);
        let mut all = Vec::new();
        for note in &notes {
            self.tell(note, &mut all);
        }
        all
    }

    /// Events lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn tell(&mut self, note: &Note, all: &mut Vec<Shown>) {
        let event = match note.what {
            What::PAIR => "pair",
            What::ADOPT => "adopt",
            What::RELEASE => "release",
            What::KEEP => "keep",
            _ => return self.status(note, all),
        };
        let row = self.rows.get(&note.id);
        all.push(Shown::of(note, row, event).with(note.peer, note.reason));
    }

    fn status(&mut self, note: &Note, all: &mut Vec<Shown>) {
        if life::begins(note) || note.what == What::SCANNED {
            self.rows.entry(note.id).or_insert(Row {
                id: note.id,
                ..Row::EMPTY
            });
        }
        let Some(row) = self.rows.get_mut(&note.id) else {
            return;
        };
        let change = life::apply(row, note);
        if let Some(change) = change {
            let shown = Shown::of(note, Some(row), "status");
            all.push(Shown {
                from: Some(change.from.word()),
                to: Some(change.to.word()),
                ..shown
            });
        }
        let handshake = row.trace.handshake;
        let (before, after) = (State::of(note.before), State::of(note.after));
        if note.what == What::STATE && after == State::ESTABLISHED && change.is_some() {
            self.meet(note, before == State::SYN_SENT, handshake, all);
        }
        if matches!(note.what, What::CLOSED) {
            self.rows.remove(&note.id);
        }
    }

    /// One end of a handshake: the other may have been here before.
    fn meet(&mut self, note: &Note, client: bool, handshake: HandshakeId, all: &mut Vec<Shown>) {
        if client {
            // Those whose server is on another host are never asked for.
            if self.shakes.len() >= SHAKES {
                self.shakes.clear();
            }
            self.shakes.insert(handshake, note.id);
            return;
        }
        let Some(client) = self.shakes.remove(&handshake) else {
            return;
        };
        for (one, other) in [(client, note.id), (note.id, client)] {
            if let Some(row) = self.rows.get_mut(&one) {
                row.remote.id = other;
            }
        }
        let row = self.rows.get(&note.id);
        all.push(Shown::of(note, row, "pair").with(client, Reason::None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let event = Shown {
            schema: 1,
            at: 0,
            event: "pair",
            id: 7,
            peer: None,
            from: None,
            to: None,
            reason: None,
            local_port: 0,
            remote_port: 0,
            scanned: false,
            pid: Some(1),
            command: Some("a\x1b[2J\nb".into()),
        };
        assert!(event.line().contains(" a\\x1b[2J\\x0ab(1) pair"));
        assert!(!event.line().contains(char::is_control));
    }
}
