//! Which row is the other end of which.
//!
//! In this order, from certain to inferred: the initial sequence numbers, which
//! TCP tells of an established connection at any time, what the kernel itself links (Unix sockets), the mirrored
//! addresses of a TCP connection whose sequence numbers agree, and, where
//! addresses were translated, sequence numbers that agree exactly.

use std::collections::HashMap;

use socketvirt_common::record::row::{Family, Protocol, Row, State};

/// The distance that the sequence numbers of two ends may have when the rows were
/// made one after the other: more than any window (RFC 7323), far less than
/// two connections differ by chance.
const WINDOW: u32 = 1 << 30;

/// Finds the other ends. Ids that are set already are kept.
pub fn find(rows: &mut [Row]) {
    let mut peers = vec![0_u64; rows.len()];
    by_handshake(rows, &mut peers);
    unix(rows, &mut peers);
    mirrored(rows, &mut peers);
    translated(rows, &mut peers);
    for (row, peer) in rows.iter_mut().zip(peers) {
        if row.remote.id == 0 {
            row.remote.id = peer;
        }
    }
}

/// The two ends of a connection whose handshake was seen agree on its id.
fn by_handshake(rows: &[Row], peers: &mut [u64]) {
    let mut seen: HashMap<_, usize> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let id = row.trace.handshake;
        if (id.client_seq, id.server_seq) == (0, 0) {
            continue;
        }
        // From a look alone nobody can tell which end was the client.
        let id = (
            id.client_seq.min(id.server_seq),
            id.client_seq.max(id.server_seq),
        );
        match seen.remove(&id) {
            Some(other) => link(rows, peers, index, other),
            None => {
                seen.insert(id, index);
            }
        }
    }
}

fn link(rows: &[Row], peers: &mut [u64], one: usize, other: usize) {
    (peers[one], peers[other]) = (rows[other].id, rows[one].id);
}

/// A Unix socket points to its peer. A datagram socket may point to one that
/// does not point back.
fn unix(rows: &[Row], peers: &mut [u64]) {
    let is_unix = |row: &&Row| row.local.family == Family::UNIX;
    let at: HashMap<u64, u64> = rows
        .iter()
        .filter(is_unix)
        .map(|row| (row.trace.sock, row.id))
        .collect();
    for (row, peer) in rows.iter().zip(peers) {
        if row.local.family == Family::UNIX && row.trace.peer_sock != 0 && *peer == 0 {
            *peer = at.get(&row.trace.peer_sock).copied().unwrap_or(0);
        }
    }
}

/// True when the row is an end of a connection with sequence numbers.
fn is_connection(row: &Row) -> bool {
    row.local.protocol == Protocol::TCP
        && row.local.family != Family::UNIX
        && !(row.is_mini() && row.trace.snd_nxt == 0)
        && !matches!(
            row.state,
            State::LISTEN | State::CLOSE | State::UNKNOWN | State::SYN_SENT
        )
}

/// An IPv4 address is the same whether it is mapped or not.
fn plain(text: &[i8]) -> Vec<i8> {
    let mapped: Vec<i8> = b"::ffff:".iter().map(|byte| byte.cast_signed()).collect();
    let text: Vec<i8> = text.iter().copied().take_while(|byte| *byte != 0).collect();
    match text.strip_prefix(&mapped[..]) {
        Some(v4) if v4.contains(&b'.'.cast_signed()) => v4.to_vec(),
        _ => text,
    }
}

/// `one` has sent about as far as `other` has received, and the other way.
fn agree(one: &Row, other: &Row) -> bool {
    let near = |a: u32, b: u32| {
        let distance = a.wrapping_sub(b);
        distance.min(distance.wrapping_neg()) < WINDOW
    };
    near(one.trace.snd_nxt, other.trace.rcv_nxt) && near(other.trace.snd_nxt, one.trace.rcv_nxt)
}

type Ends = (Vec<i8>, u32, Vec<i8>, u32);

fn mirrored(rows: &[Row], peers: &mut [u64]) {
    let mut by_ends: HashMap<Ends, Vec<usize>> = HashMap::new();
    let open = |peers: &[u64], index: usize| {
        peers[index] == 0 && rows[index].remote.id == 0 && is_connection(&rows[index])
    };
    for index in (0..rows.len()).filter(|index| open(peers, *index)) {
        by_ends.entry(ends(&rows[index])).or_default().push(index);
    }
    for index in 0..rows.len() {
        if !open(peers, index) {
            continue;
        }
        let (address, port, other, other_port) = ends(&rows[index]);
        let Some(candidates) = by_ends.get(&(other, other_port, address, port)) else {
            continue;
        };
        // Two containers may use the same addresses: then the own namespace
        // decides, and otherwise nothing is said.
        let fits: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|other| *other != index && open(peers, *other))
            .filter(|other| agree(&rows[index], &rows[*other]))
            .collect();
        let here: Vec<usize> = fits
            .iter()
            .copied()
            .filter(|other| rows[*other].local.netns == rows[index].local.netns)
            .collect();
        match (&fits[..], &here[..]) {
            ([only], _) | (_, [only]) => link(rows, peers, index, *only),
            _ => {}
        }
    }
}

fn ends(row: &Row) -> Ends {
    (
        plain(&row.local.address),
        row.local.port,
        plain(&row.remote.address),
        row.remote.port,
    )
}

/// With addresses translated on the way, the sequence numbers are the same at
/// both ends all the same; they agree exactly while nothing is under way.
fn translated(rows: &[Row], peers: &mut [u64]) {
    let mut by_numbers: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    let open = |peers: &[u64], index: usize| {
        peers[index] == 0 && rows[index].remote.id == 0 && is_connection(&rows[index])
    };
    for index in (0..rows.len()).filter(|index| open(peers, *index)) {
        let numbers = (rows[index].trace.snd_nxt, rows[index].trace.rcv_nxt);
        by_numbers.entry(numbers).or_default().push(index);
    }
    for index in 0..rows.len() {
        let (snd, rcv) = (rows[index].trace.snd_nxt, rows[index].trace.rcv_nxt);
        if let Some([only]) = by_numbers.get(&(rcv, snd)).map(Vec::as_slice)
            && *only != index
            && open(peers, index)
            && open(peers, *only)
        {
            link(rows, peers, index, *only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(of: &str) -> [i8; 112] {
        let mut text = [0; 112];
        for (to, from) in text.iter_mut().zip(of.bytes()) {
            *to = from.cast_signed();
        }
        text
    }

    fn row(id: u64, netns: u32, own: (&str, u32), other: (&str, u32), seq: (u32, u32)) -> Row {
        let mut row = Row::EMPTY;
        row.id = id;
        row.state = State::ESTABLISHED;
        row.local.family = Family::INET;
        row.local.protocol = Protocol::TCP;
        row.local.netns = netns;
        (row.local.address, row.local.port) = (text(own.0), own.1);
        (row.remote.address, row.remote.port) = (text(other.0), other.1);
        (row.trace.snd_nxt, row.trace.rcv_nxt) = seq;
        row
    }

    fn peers(mut rows: Vec<Row>) -> Vec<u64> {
        find(&mut rows);
        rows.iter().map(|row| row.remote.id).collect()
    }

    #[test]
    fn mirrored_addresses_whether_mapped_or_not() {
        let rows = vec![
            row(1, 1, ("10.0.0.1", 5000), ("10.0.0.2", 80), (100, 200)),
            row(
                2,
                2,
                ("::ffff:10.0.0.2", 80),
                ("::ffff:10.0.0.1", 5000),
                (205, 90),
            ),
        ];
        assert_eq!(peers(rows), [2, 1]);
    }

    #[test]
    fn another_connection_of_the_same_addresses_is_not_the_peer() {
        let far = 1 << 31;
        let rows = vec![
            row(1, 1, ("10.0.0.1", 5000), ("10.0.0.2", 80), (100, 200)),
            row(2, 2, ("10.0.0.2", 80), ("10.0.0.1", 5000), (far, far)),
        ];
        assert_eq!(peers(rows), [0, 0]);
    }

    #[test]
    fn the_same_addresses_in_two_namespaces_stay_apart() {
        let rows = vec![
            row(1, 1, ("127.0.0.1", 5000), ("127.0.0.1", 80), (100, 200)),
            row(2, 2, ("127.0.0.1", 80), ("127.0.0.1", 5000), (201, 101)),
            row(3, 2, ("127.0.0.1", 5000), ("127.0.0.1", 80), (100, 200)),
            row(4, 1, ("127.0.0.1", 80), ("127.0.0.1", 5000), (201, 101)),
        ];
        assert_eq!(peers(rows), [4, 3, 2, 1]);
    }

    #[test]
    fn translated_addresses_are_seen_through() {
        let rows = vec![
            row(1, 1, ("10.0.0.1", 5000), ("10.9.9.9", 80), (7, 8)),
            row(2, 2, ("10.0.0.2", 8080), ("10.0.0.77", 1234), (8, 7)),
            row(3, 2, ("10.0.0.2", 8080), ("10.0.0.78", 1234), (8, 9)),
        ];
        assert_eq!(peers(rows), [2, 1, 0]);
    }

    #[test]
    fn a_handshake_that_was_seen_counts_before_addresses() {
        let mut rows = vec![
            row(1, 1, ("127.0.0.1", 5000), ("127.0.0.1", 80), (100, 200)),
            row(2, 1, ("127.0.0.1", 80), ("127.0.0.1", 5000), (200, 100)),
            row(3, 2, ("127.0.0.1", 80), ("127.0.0.1", 5000), (200, 100)),
        ];
        for index in [0, 2] {
            rows[index].trace.handshake.client_seq = 99;
        }
        assert_eq!(peers(rows), [3, 0, 1]);
    }
}
