//! The life of a socket, from notes: what each does to its row. Each of the
//! hooks has its gaps, which is told here.

use std::net::{Ipv4Addr, Ipv6Addr};

use socketvirt_common::record::{
    event::{Note, What},
    row::{ADDRESS_TEXT, Family, Kind, Protocol, Row, State},
    status::{STATUSES, Status, Step},
    text::Text,
};

/// A change of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The status before; the same when the row is new.
    pub from: Status,
    /// The status now.
    pub to: Status,
}

/// True when a row begins with this note. Others are of sockets of which nothing
/// is known; the next scan finds those.
#[must_use]
pub fn begins(note: &Note) -> bool {
    let state = State::of(note.after);
    match note.what {
        What::CREATED => true,
        What::STATE => matches!(state, State::SYN_SENT | State::ESTABLISHED | State::LISTEN),
        _ => false,
    }
}

/// Puts a note into its row. A note may come twice, and after a scan that has
/// seen more.
pub fn apply(row: &mut Row, note: &Note) -> Option<Change> {
    let status = match note.what {
        What::CREATED => created(row, note),
        What::BOUND => bound(row, note)?,
        What::STATE => state(row, note)?,
        What::CLOSED => Status::TERMINATED,
        What::SCANNED => *ALL.get(usize::from(note.after))?,
        What::NOTHING | What::PAIR | What::ADOPT | What::RELEASE | What::KEEP => return None,
    };
    step(row, note.at, status, note.what == What::SCANNED)
}

/// By their numbers.
const ALL: [Status; STATUSES] = [
    Status::UNCONNECTED,
    Status::BOUND,
    Status::LISTENING,
    Status::CONNECTING,
    Status::CONNECTED,
    Status::SENDING,
    Status::RECEIVING,
    Status::DISCONNECTED,
    Status::SHUTDOWN,
    Status::TERMINATED,
];

fn step(row: &mut Row, at: u64, status: Status, scanned: bool) -> Option<Change> {
    let new = row.history.taken == 0;
    let before = row.status;
    let over = !new && before == Status::TERMINATED;
    let last = row.history.iter().last().map_or(0, |step| step.at);
    if over && at >= last {
        return None;
    }
    row.history.weave(Step {
        at,
        status,
        scanned: u32::from(scanned),
    });
    // A scan may have seen more already.
    if over || (at < row.seen && status != Status::TERMINATED) {
        return None;
    }
    row.seen = row.seen.max(at);
    row.status = status;
    (new || before.is_step(status)).then_some(Change {
        from: if new { status } else { before },
        to: status,
    })
}

fn created(row: &mut Row, note: &Note) -> Status {
    // Never after a scan: what it has found is more.
    if row.history.taken == 0 {
        row.state = State::CLOSE;
    }
    row.local.family = Family::of(note.family);
    row.local.kind = Kind::of(u16::from(note.before));
    row.local.protocol = Protocol::of(note.protocol);
    row.local.netns = note.netns;
    row.owner.cgroup = note.cgroup;
    row.owner.uid = note.uid;
    row.owner.pid = note.pid;
    row.owner.command = note.command;
    Status::UNCONNECTED
}

fn bound(row: &mut Row, note: &Note) -> Option<Status> {
    row.local.port = u32::from(note.local_port);
    address(&mut row.local.address, note.family, note.local);
    // listen(2) and connect(2) of a bound socket do not come by there.
    let begins = matches!(row.status, Status::UNCONNECTED | Status::BOUND);
    (note.local_port != 0 && begins).then_some(Status::BOUND)
}

fn state(row: &mut Row, note: &Note) -> Option<Status> {
    let (before, after) = (State::of(note.before), State::of(note.after));
    if note.at >= row.seen {
        row.state = after;
    }
    let held = note.held != 0;
    Some(match (before, after) {
        (_, State::LISTEN) => {
            ends(row, note);
            Status::LISTENING
        }
        (_, State::SYN_SENT) => {
            ends(row, note);
            Status::CONNECTING
        }
        (_, State::ESTABLISHED) => {
            ends(row, note);
            let handshake = &mut row.trace.handshake;
            (handshake.client_seq, handshake.server_seq) = if before == State::SYN_SENT {
                (note.own_seq, note.peer_seq)
            } else {
                (note.peer_seq, note.own_seq)
            };
            Status::CONNECTED
        }
        (_, State::CLOSE_WAIT) => Status::DISCONNECTED,
        // close(2) has been noted before, so this is shutdown(2).
        (_, State::FIN_WAIT1 | State::LAST_ACK) if held => Status::SHUTDOWN,
        // Never accepted.
        (_, State::CLOSE) if !held => Status::TERMINATED,
        (_, State::CLOSE) if note.error != 0 => Status::DISCONNECTED,
        // A listener that was shut down, a connection that was dissolved.
        (State::LISTEN, State::CLOSE) if row.local.port != 0 => Status::BOUND,
        // After both ends of data: what it was.
        (State::FIN_WAIT2 | State::CLOSING | State::LAST_ACK | State::TIME_WAIT, State::CLOSE) => {
            return None;
        }
        (_, State::CLOSE) => Status::UNCONNECTED,
        _ => return None,
    })
}

/// Both ends of a TCP socket.
fn ends(row: &mut Row, note: &Note) {
    row.local.family = Family::of(note.family);
    row.local.kind = Kind::STREAM;
    row.local.protocol = Protocol::TCP;
    row.local.netns = note.netns;
    // A client gets its port after this.
    if note.local_port != 0 {
        row.local.port = u32::from(note.local_port);
        address(&mut row.local.address, note.family, note.local);
    }
    if note.remote_port != 0 {
        row.remote.port = u32::from(note.remote_port);
        address(&mut row.remote.address, note.family, note.remote);
    }
}

/// Writes an address, whose words are in network byte order.
fn address(to: &mut Text<ADDRESS_TEXT>, family: u16, words: [u32; 4]) {
    let text = if Family::of(family) == Family::INET {
        Ipv4Addr::from(words[0].to_ne_bytes()).to_string()
    } else {
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(bytes).to_string()
    };
    *to = [0; ADDRESS_TEXT];
    for (to, from) in to.iter_mut().zip(text.bytes()) {
        *to = from.cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note of which nothing is set.
    fn note(at: u64, what: What) -> Note {
        // SAFETY: numbers, and enumerations that all have a variant 0.
        let mut note: Note = unsafe { std::mem::zeroed() };
        (note.at, note.what) = (at, what);
        note
    }

    fn to(at: u64, before: State, after: State) -> Note {
        let mut note = note(at, What::STATE);
        (note.before, note.after) = (before as u8, after as u8);
        (note.family, note.held) = (2, 1);
        note
    }

    fn life(row: &Row) -> Vec<Status> {
        row.history.iter().map(|step| step.status).collect()
    }

    /// A client from socket(2) to close(2).
    fn client() -> Vec<Note> {
        vec![
            note(1, What::CREATED),
            to(2, State::CLOSE, State::SYN_SENT),
            to(3, State::SYN_SENT, State::ESTABLISHED),
            to(4, State::ESTABLISHED, State::CLOSE_WAIT),
            note(5, What::CLOSED),
            to(6, State::CLOSE_WAIT, State::LAST_ACK),
            to(7, State::LAST_ACK, State::CLOSE),
        ]
    }

    const LIFE: [Status; 5] = [
        Status::UNCONNECTED,
        Status::CONNECTING,
        Status::CONNECTED,
        Status::DISCONNECTED,
        Status::TERMINATED,
    ];

    #[test]
    fn notes_make_a_life() {
        let mut row = Row::EMPTY;
        for note in client() {
            apply(&mut row, &note);
        }
        assert_eq!(life(&row), LIFE);
        assert_eq!(row.status, Status::TERMINATED);
    }

    #[test]
    fn a_note_that_comes_twice_counts_once() {
        let mut row = Row::EMPTY;
        for note in &client()[..5] {
            assert!(apply(&mut row, note).is_some());
        }
        for note in &client()[..5] {
            assert_eq!(apply(&mut row, note), None);
        }
        assert_eq!(life(&row), LIFE);
    }

    #[test]
    fn what_a_scan_found_first_gives_way_to_when_it_happened() {
        let mut row = Row::EMPTY;
        row.status = Status::RECEIVING;
        row.seen = 10;
        row.history.note(10, Status::RECEIVING, true);
        for note in &client()[..3] {
            assert_eq!(apply(&mut row, note), None, "older than the scan");
        }
        assert_eq!(row.status, Status::RECEIVING);
        assert_eq!(
            life(&row),
            [Status::UNCONNECTED, Status::CONNECTING, Status::CONNECTED]
        );
        assert_eq!(
            row.history.iter().filter(|step| step.scanned != 0).count(),
            0
        );
    }

    #[test]
    fn a_closed_socket_stays_closed() {
        let mut row = Row::EMPTY;
        apply(&mut row, &note(1, What::CREATED));
        apply(&mut row, &note(2, What::CLOSED));
        assert_eq!(
            apply(&mut row, &to(3, State::ESTABLISHED, State::FIN_WAIT1)),
            None
        );
        assert_eq!(row.status, Status::TERMINATED);
    }

    #[test]
    fn a_long_life_keeps_its_last_steps() {
        let mut row = Row::EMPTY;
        for turn in 0..20 {
            apply(&mut row, &to(10 * turn + 1, State::CLOSE, State::SYN_SENT));
            apply(&mut row, &to(10 * turn + 2, State::SYN_SENT, State::CLOSE));
        }
        assert_eq!(row.history.taken, 40);
        let last: Vec<u64> = row.history.iter().map(|step| step.at).collect();
        assert_eq!(last, [161, 162, 171, 172, 181, 182, 191, 192]);
    }

    #[test]
    fn addresses_are_written_as_people_read_them() {
        let mut text = [0; ADDRESS_TEXT];
        address(&mut text, 2, [u32::from_ne_bytes([127, 0, 0, 1]), 9, 9, 9]);
        assert_eq!(super::super::words::text(&text), "127.0.0.1");
        let mapped = [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes([10, 0, 0, 1])];
        address(&mut text, 10, mapped);
        assert_eq!(super::super::words::text(&text), "::ffff:10.0.0.1");
    }
}
