//! Filling a row from the copy of a socket.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use socketvirt_common::{
    record::{
        fields::flag,
        row::{ADDRESS_TEXT, Family, Kind, NAME_LENGTH, Protocol, Row, State},
        status::Status,
        text::Text,
    },
    rule::{readiness, status},
    uapi::O_NONBLOCK,
};

use super::{
    options::{Fill as _, socket_flag},
    snapshot::{Snapshot, at, read},
    text,
};
use crate::{kernel::sock::Sock, maps::FIELDS, scratch::Identity};

/// `SK_USER_DATA_PSOCK`, include/net/sock.h: the user data is a psock.
const USER_DATA_PSOCK: u64 = 4;

/// The fields that are read of the socket's file.
struct File {
    /// There is one, or the socket waits for accept(2).
    held: bool,
    inode: u64,
    blocking: bool,
}

/// Fills all of `row` that a look at the socket shows; status and history are
/// the caller's. Returns the status.
#[inline(always)]
pub fn fill(row: &mut Row, copy: &Snapshot, identity: &Identity, id: u64) -> Status {
    row.id = id;
    row.state = identity.state;
    row.local.family = identity.family;
    row.local.kind = identity.kind;
    row.local.protocol = identity.protocol;
    row.local.netns = read(copy.get::<u64>(at!(net)), at!(net_inum));
    row.local.device = copy.get(at!(bound_dev_if));
    row.trace.sock = copy.sock;

    if matches!(identity.family, Family::UNIX) {
        unix_address(&mut row.local.address, copy.get(at!(unix_addr)));
        let peer: u64 = copy.get(at!(unix_peer));
        row.trace.peer_sock = peer;
        row.remote.id = read(peer, at!(cookie));
        unix_address(&mut row.remote.address, read(peer, at!(unix_addr)));
    } else {
        addresses(row, copy, identity);
    }
    if identity.state.is_mini() {
        return mini(row, copy, identity);
    }
    let flags: u64 = copy.get(at!(flags_word));
    let socket: u64 = copy.get(at!(socket));
    let file = file(copy, socket, flags);
    row.local.blocking = u32::from(file.blocking);
    row.owner.inode = file.inode;
    row.owner.uid = copy.get(at!(uid));
    let kn: u64 = read(copy.get::<u64>(at!(cgroup)), at!(cgroup_kn));
    row.owner.cgroup = read(kn, at!(kn_id));
    row.shutdown = u32::from(copy.get::<u8>(at!(shutdown)));
    row.error = copy.get(at!(error));

    queues(row, copy, identity);
    row.options.fill(copy, identity, flags);
    let waits = file.held && Sock(copy.sock).sleepers() > 0;
    row.reader_waits = u32::from(waits);
    row.local.event = events(row, copy, identity);

    status::status(&status::Observed {
        family: identity.family,
        kind: identity.kind,
        protocol: identity.protocol,
        state: identity.state,
        shutdown: row.shutdown,
        error: row.error != 0,
        bound: if matches!(identity.family, Family::UNIX) {
            row.local.address[0] != 0
        } else {
            row.local.port != 0
        },
        held: file.held,
        peer_dead: matches!(identity.family, Family::UNIX) && peer_dead(row),
        sending: row.send_queue.bytes > 0,
        receiving: row.receive_queue.bytes > 0 || row.receive_queue.redirected > 0 || waits,
    })
}

/// Fills the row of a request for a connection, or of a connection that is
/// over.
#[inline(always)]
fn mini(row: &mut Row, copy: &Snapshot, identity: &Identity) -> Status {
    if matches!(identity.state, State::NEW_SYN_RECV) {
        return Status::CONNECTING;
    }
    // A closed socket whose peer has not closed yet is kept as small as this.
    if read::<u8>(copy.sock, at!(tw_substate)) == State::FIN_WAIT2 as u8 {
        row.state = State::FIN_WAIT2;
    }
    Status::TERMINATED
}

#[inline(always)]
fn addresses(row: &mut Row, copy: &Snapshot, identity: &Identity) {
    row.local.port = u32::from(copy.get::<u16>(at!(num)));
    row.remote.port = u32::from(u16::from_be(copy.get::<u16>(at!(dport))));
    if matches!(identity.family, Family::INET) {
        let own: u32 = copy.get(at!(rcv_saddr));
        let other: u32 = copy.get(at!(daddr));
        text::v4(&mut row.local.address, own);
        text::v4(&mut row.remote.address, other);
    } else {
        let own: [u64; 2] = copy.get(at!(v6_rcv_saddr));
        let other: [u64; 2] = copy.get(at!(v6_daddr));
        text::v6(&mut row.local.address, own);
        text::v6(&mut row.remote.address, other);
    }
}

/// Writes the name that a `struct unix_address` holds; none when it is null.
#[inline(always)]
fn unix_address(to: &mut Text<ADDRESS_TEXT>, address: u64) {
    /// `sun_path` is 108 bytes behind the two of the family.
    const PATH: usize = 108;
    to[0] = 0;
    to[NAME_LENGTH] = 0;
    if address == 0 {
        return;
    }
    let len: i32 = read(address, at!(unix_address_len));
    let name = address + u64::from(at!(unix_address_name).offset) + 2;
    // SAFETY: `to` has room for `PATH`; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_kernel(to.as_mut_ptr().cast(), PATH as u32, name as *const c_void)
    };
    let end = (len as usize).wrapping_sub(2);
    // Through memory: the compiler makes one comparison of the two, on what it
    // computes from `end`. The verifiers of 6.1 and 6.12 learn no bound of
    // `end` itself from that. (K-BPF-10 in `docs/kernel`.) SAFETY: a value of
    // this function.
    let bounded = unsafe { core::ptr::read_volatile(&raw const end) };
    // A path that fills `sun_path` has its zero byte behind it.
    if failed != 0 || end == 0 || bounded > PATH + 1 {
        to[0] = 0;
        return;
    }
    let end = bounded;
    to[PATH] = 0;
    to[end] = 0;
    // A name outside the file system begins with a zero byte.
    if to[0] == 0 {
        to[0] = b'@' as i8;
        to[NAME_LENGTH] = end as i8;
    }
}

#[inline(always)]
fn file(copy: &Snapshot, socket: u64, flags: u64) -> File {
    let file: u64 = read(socket, at!(socket_file));
    let inode = if at!(ino).offset == socketvirt_common::record::fields::Field::MISSING {
        read(socket, at!(socket_ino))
    } else {
        copy.get::<u64>(at!(ino))
    };
    File {
        // A child that waits for accept(2) has no socket and is not dead.
        held: socket != 0 || !socket_flag!(flags, DEAD),
        inode,
        blocking: file != 0 && read::<u32>(file, at!(file_flags)) & O_NONBLOCK == 0,
    }
}

#[inline(always)]
fn queues(row: &mut Row, copy: &Snapshot, identity: &Identity) {
    let (send, receive) = (&mut row.send_queue, &mut row.receive_queue);
    send.limit = copy.get(at!(sndbuf));
    receive.limit = copy.get(at!(rcvbuf));
    receive.memory = copy.get(at!(rmem_alloc));
    // `refcount_t` that begins at 1.
    let wmem = copy.get::<u32>(at!(wmem_alloc)).saturating_sub(1);
    let listener = matches!(identity.state, State::LISTEN);
    if listener {
        row.connection_queue.waiting = copy.get(at!(ack_backlog));
        row.connection_queue.limit = copy.get(at!(max_ack_backlog));
    }
    if matches!(identity.family, Family::UNIX) {
        send.bytes = wmem;
        send.memory = wmem;
        receive.bytes = if matches!(identity.kind, Kind::DGRAM) {
            first_packet(copy)
        } else {
            copy.get(at!(unix_inq))
        };
        // Connections wait as packets in the queue.
        if listener {
            receive.bytes = 0;
            row.connection_queue.waiting = copy.get(at!(receive_queue));
        }
        return;
    }
    if matches!(identity.protocol, Protocol::TCP) {
        if listener {
            row.connection_queue.half_open = copy.get(at!(half_open));
            return;
        }
        let write_seq: u32 = copy.get(at!(write_seq));
        let rcv_nxt: u32 = copy.get(at!(rcv_nxt));
        send.bytes = ahead(write_seq, copy.get(at!(snd_una)));
        send.memory = copy.get(at!(wmem_queued));
        receive.bytes = ahead(rcv_nxt, copy.get(at!(copied_seq)));
        receive.redirected = redirected(copy);
        row.trace.snd_nxt = copy.get(at!(snd_nxt));
        row.trace.rcv_nxt = rcv_nxt;
        // The initial sequence numbers, as long as no end of data is counted.
        if matches!(identity.state, State::ESTABLISHED) {
            let acked: u64 = copy.get(at!(bytes_acked));
            let received: u64 = copy.get(at!(bytes_received));
            let snd_una: u32 = copy.get(at!(snd_una));
            row.trace.handshake.client_seq = snd_una.wrapping_sub(acked as u32);
            row.trace.handshake.server_seq = rcv_nxt.wrapping_sub(received as u32);
        }
        let out: u64 = copy.get(at!(bytes_sent));
        let again: u64 = copy.get(at!(bytes_retrans));
        row.send.traffic.stack_bytes = out.wrapping_sub(again);
        row.send.traffic.stack_messages = u64::from(copy.get::<u32>(at!(data_segs_out)));
        return;
    }
    send.bytes = wmem;
    send.memory = wmem;
    // Memory that a read has freed but not given back yet.
    let deficit: u32 = copy.get(at!(forward_deficit));
    receive.bytes = receive.memory.saturating_sub(deficit);
}

/// Returns how far one sequence number is ahead of another; 0 when it is
/// behind.
#[inline(always)]
fn ahead(of: u32, from: u32) -> u32 {
    let distance = of.wrapping_sub(from);
    if distance >> 31 == 0 { distance } else { 0 }
}

/// Returns the bytes of the first datagram, as FIONREAD counts.
#[inline(always)]
fn first_packet(copy: &Snapshot) -> u32 {
    if copy.get::<u32>(at!(receive_queue)) == 0 {
        return 0;
    }
    read(copy.get::<u64>(at!(receive_first)), at!(skb_len))
}

/// Returns the bytes in the psock's queue, when the socket has one.
#[inline(always)]
fn redirected(copy: &Snapshot) -> u32 {
    let user_data: u64 = copy.get(at!(user_data));
    if user_data & USER_DATA_PSOCK == 0 {
        return 0;
    }
    read(user_data & !7, at!(psock_redirected))
}

#[inline(always)]
fn peer_dead(row: &Row) -> bool {
    if row.trace.peer_sock == 0 {
        return false;
    }
    let flags: u64 = read(row.trace.peer_sock, at!(flags_word));
    socket_flag!(flags, DEAD)
}

#[inline(always)]
fn events(row: &Row, copy: &Snapshot, identity: &Identity) -> u32 {
    let tcp = matches!(identity.protocol, Protocol::TCP);
    let packets = copy.get::<u32>(at!(receive_queue))
        + if matches!(identity.protocol, Protocol::UDP) {
            copy.get::<u32>(at!(reader_queue))
        } else {
            0
        };
    let notsent_lowat: u32 = copy.get(at!(notsent_lowat));
    readiness::events(&readiness::Polled {
        family: identity.family,
        kind: identity.kind,
        protocol: identity.protocol,
        state: identity.state,
        shutdown: row.shutdown,
        error: row.error != 0 || copy.get::<u32>(at!(error_queue)) != 0,
        urgent: tcp && copy.get::<u16>(at!(urg_data)) & 0x0100 != 0,
        acceptable: row.connection_queue.waiting > row.connection_queue.half_open,
        readable: if tcp {
            row.receive_queue.bytes + row.receive_queue.redirected
        } else {
            packets
        },
        rcvlowat: copy.get(at!(rcvlowat)),
        wmem: row.send_queue.memory,
        sndbuf: row.send_queue.limit,
        notsent: ahead(copy.get(at!(write_seq)), row.trace.snd_nxt),
        notsent_lowat: if notsent_lowat == 0 {
            u32::MAX
        } else {
            notsent_lowat
        },
    })
}
