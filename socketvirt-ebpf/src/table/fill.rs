//! Filling a row from the copy of a socket.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_snprintf};
use socketvirt_common::{
    options::{SocketOptions, UNKNOWN},
    places::flag,
    readiness,
    row::{ADDRESS_TEXT, Family, Kind, Protocol, Row, State, Text},
    status::{self, Status},
    suitable::O_NONBLOCK,
};

use super::snapshot::{Identity, Snapshot, place, read};
use crate::{kernel::Sock, maps::PLACES};

/// The format of `bpf_snprintf`, which takes it from read-only data alone.
#[unsafe(no_mangle)]
static FORMAT_V6: [u8; 5] = *b"%pI6\0";

/// `SK_USER_DATA_PSOCK`, include/net/sock.h: the user data is a psock.
const USER_DATA_PSOCK: u64 = 4;

/// A bit of `sk_flags`.
macro_rules! socket_flag {
    ($flags:expr, $flag:ident) => {{
        // SAFETY: a field of a static.
        let mask = unsafe { core::ptr::read_volatile(&raw const PLACES.flags[flag::$flag]) };
        $flags & mask != 0
    }};
}

/// What is read of the socket's file.
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
    row.local.netns = read(copy.get::<u64>(place!(net)), place!(net_inum));
    row.local.device = copy.get(place!(bound_dev_if));
    row.witness.sock = copy.sock;

    if matches!(identity.family, Family::UNIX) {
        unix_address(&mut row.local.address, copy.get(place!(unix_addr)));
        let peer: u64 = copy.get(place!(unix_peer));
        row.witness.peer_sock = peer;
        row.remote.id = read(peer, place!(cookie));
        unix_address(&mut row.remote.address, read(peer, place!(unix_addr)));
    } else {
        addresses(row, copy, identity);
    }
    if identity.state.is_mini() {
        return mini(row, copy, identity);
    }
    let flags: u64 = copy.get(place!(flags_word));
    let socket: u64 = copy.get(place!(socket));
    let file = file(copy, socket, flags);
    row.local.blocking = u32::from(file.blocking);
    row.owner.inode = file.inode;
    row.owner.uid = copy.get(place!(uid));
    let kn: u64 = read(copy.get::<u64>(place!(cgroup)), place!(cgroup_kn));
    row.owner.cgroup = read(kn, place!(kn_id));
    row.shutdown = u32::from(copy.get::<u8>(place!(shutdown)));
    row.error = copy.get(place!(error));

    queues(row, copy, identity);
    row.options.fill(copy, identity, flags);
    let waits = file.held && Sock(copy.sock).sleepers() > 0;
    row.reader_waits = u32::from(waits);
    row.local.event = events(row, copy, identity);

    status::status(&status::Facts {
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

/// A request for a connection, or a connection that is over.
#[inline(always)]
fn mini(row: &mut Row, copy: &Snapshot, identity: &Identity) -> Status {
    if matches!(identity.state, State::NEW_SYN_RECV) {
        return Status::CONNECTING;
    }
    // A closed socket whose peer has not closed yet is kept as small as this.
    if read::<u8>(copy.sock, place!(tw_substate)) == State::FIN_WAIT2 as u8 {
        row.state = State::FIN_WAIT2;
    }
    Status::TERMINATED
}

#[inline(always)]
fn addresses(row: &mut Row, copy: &Snapshot, identity: &Identity) {
    row.local.port = u32::from(copy.get::<u16>(place!(num)));
    row.remote.port = u32::from(u16::from_be(copy.get::<u16>(place!(dport))));
    if matches!(identity.family, Family::INET) {
        let own: u32 = copy.get(place!(rcv_saddr));
        let other: u32 = copy.get(place!(daddr));
        v4(&mut row.local.address, own);
        v4(&mut row.remote.address, other);
    } else {
        let own: [u64; 2] = copy.get(place!(v6_rcv_saddr));
        let other: [u64; 2] = copy.get(place!(v6_daddr));
        v6(&mut row.local.address, own);
        v6(&mut row.remote.address, other);
    }
}

/// Writes an IPv4 address, in network byte order.
#[inline(always)]
pub fn v4(to: &mut Text<ADDRESS_TEXT>, address: u32) {
    dotted(to, 0, address);
}

/// The digits of each octet and how many there are.
#[unsafe(no_mangle)]
static OCTETS: [[u8; 4]; 256] = octets();

const fn octets() -> [[u8; 4]; 256] {
    let mut all = [[0; 4]; 256];
    let mut value = 0;
    while value < 256 {
        let digits = [
            b'0' + (value / 100) as u8,
            b'0' + (value / 10 % 10) as u8,
            b'0' + (value % 10) as u8,
        ];
        all[value] = match value {
            0..10 => [digits[2], 0, 0, 1],
            10..100 => [digits[1], digits[2], 0, 2],
            _ => [digits[0], digits[1], digits[2], 3],
        };
        value += 1;
    }
    all
}

/// By hand, since connections wait for this in their handshake, and
/// `bpf_snprintf` takes ten times as long; without a branch, of which the
/// verifier would follow every combination.
#[inline(always)]
fn dotted(to: &mut Text<ADDRESS_TEXT>, from: usize, address: u32) {
    /// More than the text needs; for the verifier.
    const MASK: usize = 31;
    let bytes = address.to_ne_bytes();
    let mut at = from;
    for octet in 0..4 {
        // SAFETY: a static.
        let digits = unsafe { core::ptr::read_volatile(&raw const OCTETS[bytes[octet] as usize]) };
        to[at & MASK] = digits[0] as i8;
        to[(at + 1) & MASK] = digits[1] as i8;
        to[(at + 2) & MASK] = digits[2] as i8;
        at += digits[3] as usize;
        to[at & MASK] = if octet < 3 { b'.' as i8 } else { 0 };
        at += 1;
    }
}

/// Writes an IPv6 address, in network byte order. The kernel's formatting for
/// programs does not shorten, so the addresses that are met most are written
/// by hand, and IPv4 mapped to IPv6 as what it is.
#[inline(always)]
pub fn v6(to: &mut Text<ADDRESS_TEXT>, address: [u64; 2]) {
    const MAPPED: u32 = 0xffff_u32.to_be();
    let words = [address[1] as u32, (address[1] >> 32) as u32];
    if address[0] == 0 && address[1] == 0 {
        to[0] = b':' as i8;
        to[1] = b':' as i8;
        to[2] = 0;
    } else if address[0] == 0 && address[1] == 1_u64.to_be() {
        to[0] = b':' as i8;
        to[1] = b':' as i8;
        to[2] = b'1' as i8;
        to[3] = 0;
    } else if address[0] == 0 && words[0] == MAPPED {
        for (to, from) in to.iter_mut().zip(b"::ffff:") {
            *to = *from as i8;
        }
        dotted(to, 7, words[1]);
    } else {
        format(to, &FORMAT_V6, &raw const address as u64);
    }
}

#[inline(always)]
fn format<const N: usize>(to: &mut Text<ADDRESS_TEXT>, format: &'static [u8; N], argument: u64) {
    let mut arguments = [argument];
    // SAFETY: the verifier checks all arguments; the format has one.
    unsafe {
        bpf_snprintf(
            to.as_mut_ptr().cast(),
            ADDRESS_TEXT as u32,
            format.as_ptr().cast(),
            arguments.as_mut_ptr(),
            8,
        );
    }
}

/// Writes the name that a `struct unix_address` holds; none when it is null.
#[inline(always)]
fn unix_address(to: &mut Text<ADDRESS_TEXT>, address: u64) {
    /// `sun_path` is 108 bytes behind the two of the family.
    const PATH: usize = 108;
    to[0] = 0;
    if address == 0 {
        return;
    }
    let len: i32 = read(address, place!(unix_address_len));
    let name = address + u64::from(place!(unix_address_name).offset) + 2;
    // SAFETY: `to` has room for `PATH`; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_kernel(to.as_mut_ptr().cast(), PATH as u32, name as *const c_void)
    };
    let end = (len as usize).wrapping_sub(2);
    if failed != 0 || end == 0 || end > PATH {
        to[0] = 0;
        return;
    }
    to[end] = 0;
    // A name outside the file system begins with a zero byte.
    if to[0] == 0 {
        to[0] = b'@' as i8;
    }
}

#[inline(always)]
fn file(copy: &Snapshot, socket: u64, flags: u64) -> File {
    let file: u64 = read(socket, place!(socket_file));
    let inode = if place!(ino).offset == socketvirt_common::places::Place::MISSING {
        read(socket, place!(socket_ino))
    } else {
        copy.get::<u64>(place!(ino))
    };
    File {
        // A child that waits for accept(2) has no socket and is not dead.
        held: socket != 0 || !socket_flag!(flags, DEAD),
        inode,
        blocking: file != 0 && read::<u32>(file, place!(file_flags)) & O_NONBLOCK == 0,
    }
}

#[inline(always)]
fn queues(row: &mut Row, copy: &Snapshot, identity: &Identity) {
    let (send, receive) = (&mut row.send_queue, &mut row.receive_queue);
    send.limit = copy.get(place!(sndbuf));
    receive.limit = copy.get(place!(rcvbuf));
    receive.memory = copy.get(place!(rmem_alloc));
    // `refcount_t` that begins at 1.
    let wmem = copy.get::<u32>(place!(wmem_alloc)).saturating_sub(1);
    let listener = matches!(identity.state, State::LISTEN);
    if listener {
        row.connection_queue.waiting = copy.get(place!(ack_backlog));
        row.connection_queue.limit = copy.get(place!(max_ack_backlog));
    }
    if matches!(identity.family, Family::UNIX) {
        send.bytes = wmem;
        send.memory = wmem;
        receive.bytes = if matches!(identity.kind, Kind::DGRAM) {
            first_packet(copy)
        } else {
            copy.get(place!(unix_inq))
        };
        // Connections wait as packets in the queue.
        if listener {
            receive.bytes = 0;
            row.connection_queue.waiting = copy.get(place!(receive_queue));
        }
        return;
    }
    if matches!(identity.protocol, Protocol::TCP) {
        if listener {
            row.connection_queue.half_open = copy.get(place!(half_open));
            return;
        }
        let write_seq: u32 = copy.get(place!(write_seq));
        let rcv_nxt: u32 = copy.get(place!(rcv_nxt));
        send.bytes = ahead(write_seq, copy.get(place!(snd_una)));
        send.memory = copy.get(place!(wmem_queued));
        receive.bytes = ahead(rcv_nxt, copy.get(place!(copied_seq)));
        receive.redirected = redirected(copy);
        row.witness.snd_nxt = copy.get(place!(snd_nxt));
        row.witness.rcv_nxt = rcv_nxt;
        // The initial sequence numbers, as long as no end of data is counted.
        if matches!(identity.state, State::ESTABLISHED) {
            let acked: u64 = copy.get(place!(bytes_acked));
            let received: u64 = copy.get(place!(bytes_received));
            let snd_una: u32 = copy.get(place!(snd_una));
            row.witness.handshake.client_seq = snd_una.wrapping_sub(acked as u32);
            row.witness.handshake.server_seq = rcv_nxt.wrapping_sub(received as u32);
        }
        let sent: u64 = copy.get(place!(bytes_sent));
        let again: u64 = copy.get(place!(bytes_retrans));
        row.send.traffic.stack_bytes = sent.wrapping_sub(again);
        row.send.traffic.stack_messages = u64::from(copy.get::<u32>(place!(data_segs_out)));
        return;
    }
    send.bytes = wmem;
    send.memory = wmem;
    // What a read has freed but not given back yet.
    let deficit: u32 = copy.get(place!(forward_deficit));
    receive.bytes = receive.memory.saturating_sub(deficit);
}

/// How far one sequence number is ahead of another; 0 when it is behind.
#[inline(always)]
fn ahead(of: u32, from: u32) -> u32 {
    let distance = of.wrapping_sub(from);
    if distance >> 31 == 0 { distance } else { 0 }
}

/// Bytes of the first datagram, as FIONREAD counts.
#[inline(always)]
fn first_packet(copy: &Snapshot) -> u32 {
    if copy.get::<u32>(place!(receive_queue)) == 0 {
        return 0;
    }
    read(copy.get::<u64>(place!(receive_first)), place!(skb_len))
}

/// Bytes in the psock's queue, when the socket has one.
#[inline(always)]
fn redirected(copy: &Snapshot) -> u32 {
    let user_data: u64 = copy.get(place!(user_data));
    if user_data & USER_DATA_PSOCK == 0 {
        return 0;
    }
    read(user_data & !7, place!(psock_redirected))
}

#[inline(always)]
fn peer_dead(row: &Row) -> bool {
    if row.witness.peer_sock == 0 {
        return false;
    }
    let flags: u64 = read(row.witness.peer_sock, place!(flags_word));
    socket_flag!(flags, DEAD)
}

#[inline(always)]
fn events(row: &Row, copy: &Snapshot, identity: &Identity) -> u32 {
    let tcp = matches!(identity.protocol, Protocol::TCP);
    let packets = copy.get::<u32>(place!(receive_queue))
        + if matches!(identity.protocol, Protocol::UDP) {
            copy.get::<u32>(place!(reader_queue))
        } else {
            0
        };
    let notsent_lowat: u32 = copy.get(place!(notsent_lowat));
    readiness::events(&readiness::Facts {
        family: identity.family,
        kind: identity.kind,
        protocol: identity.protocol,
        state: identity.state,
        shutdown: row.shutdown,
        error: row.error != 0 || copy.get::<u32>(place!(error_queue)) != 0,
        urgent: tcp && copy.get::<u16>(place!(urg_data)) & 0x0100 != 0,
        acceptable: row.connection_queue.waiting > row.connection_queue.half_open,
        readable: if tcp {
            row.receive_queue.bytes + row.receive_queue.redirected
        } else {
            packets
        },
        rcvlowat: copy.get(place!(rcvlowat)),
        wmem: row.send_queue.memory,
        sndbuf: row.send_queue.limit,
        notsent: ahead(copy.get(place!(write_seq)), row.witness.snd_nxt),
        notsent_lowat: if notsent_lowat == 0 {
            u32::MAX
        } else {
            notsent_lowat
        },
    })
}

/// Filling from a copy.
trait Fill {
    fn fill(&mut self, copy: &Snapshot, identity: &Identity, flags: u64);
}

impl Fill for SocketOptions {
    #[inline(always)]
    fn fill(&mut self, copy: &Snapshot, identity: &Identity, flags: u64) {
        self.so_reuseaddr = copy.byte(place!(reuse));
        self.so_reuseport = copy.byte(place!(reuseport));
        self.so_keepalive = i32::from(socket_flag!(flags, KEEPOPEN));
        self.so_broadcast = i32::from(socket_flag!(flags, BROADCAST));
        self.so_oobinline = i32::from(socket_flag!(flags, URGINLINE));
        self.so_dontroute = i32::from(socket_flag!(flags, LOCALROUTE));
        self.so_timestamp = i32::from(socket_flag!(flags, RCVTSTAMP));
        self.so_zerocopy = i32::from(socket_flag!(flags, ZEROCOPY));
        self.so_linger = if socket_flag!(flags, LINGER) {
            (copy.get::<u64>(place!(lingertime)) / hertz()) as i32
        } else {
            -1
        };
        self.so_priority = copy.word(place!(priority));
        self.so_mark = copy.word(place!(mark));
        self.so_bindtoifindex = copy.word(place!(bound_dev_if));
        self.so_sndbuf = copy.word(place!(sndbuf));
        self.so_rcvbuf = copy.word(place!(rcvbuf));
        self.so_rcvlowat = copy.word(place!(rcvlowat));
        self.so_rcvtimeo = milliseconds(copy.get(place!(rcvtimeo)));
        self.so_sndtimeo = milliseconds(copy.get(place!(sndtimeo)));
        self.so_peek_off = copy.word(place!(peek_off));
        self.so_busy_poll = copy.word(place!(ll_usec));
        let unix = matches!(identity.family, Family::UNIX);
        self.so_passcred = if unix {
            copy.byte(place!(scm_credentials))
        } else {
            UNKNOWN
        };
        if unix {
            self.no_ip();
        } else {
            self.ip(copy, identity);
        }
        if matches!(identity.protocol, Protocol::TCP) {
            self.tcp(copy);
        } else {
            self.no_tcp();
        }
    }
}

/// The parts of the options.
trait Parts {
    fn no_ip(&mut self);
    fn ip(&mut self, copy: &Snapshot, identity: &Identity);
    fn no_tcp(&mut self);
    fn tcp(&mut self, copy: &Snapshot);
}

impl Parts for SocketOptions {
    #[inline(always)]
    fn no_ip(&mut self) {
        self.ip_tos = UNKNOWN;
        self.ip_ttl = UNKNOWN;
        self.ip_mtu_discover = UNKNOWN;
        self.ip_freebind = UNKNOWN;
        self.ip_transparent = UNKNOWN;
        self.ip_recverr = UNKNOWN;
        self.ip_bind_address_no_port = UNKNOWN;
        self.ipv6_v6only = UNKNOWN;
    }

    #[inline(always)]
    fn ip(&mut self, copy: &Snapshot, identity: &Identity) {
        self.ip_tos = copy.byte(place!(tos));
        self.ip_ttl = i32::from(copy.get::<i16>(place!(uc_ttl)));
        self.ip_mtu_discover = copy.byte(place!(pmtudisc));
        self.ip_freebind = copy.byte(place!(inet_freebind));
        self.ip_transparent = copy.byte(place!(inet_transparent));
        self.ip_recverr = copy.byte(place!(inet_recverr));
        self.ip_bind_address_no_port = copy.byte(place!(inet_no_port));
        self.ipv6_v6only = if matches!(identity.family, Family::INET6) {
            copy.byte(place!(ipv6only))
        } else {
            UNKNOWN
        };
    }

    #[inline(always)]
    fn no_tcp(&mut self) {
        self.tcp_nodelay = UNKNOWN;
        self.tcp_cork = UNKNOWN;
        self.tcp_keepidle = UNKNOWN;
        self.tcp_keepintvl = UNKNOWN;
        self.tcp_keepcnt = UNKNOWN;
        self.tcp_user_timeout = UNKNOWN;
        self.tcp_defer_accept = UNKNOWN;
        self.tcp_syncnt = UNKNOWN;
        self.tcp_linger2 = UNKNOWN;
        self.tcp_notsent_lowat = UNKNOWN;
        self.tcp_maxseg = UNKNOWN;
        self.tcp_fastopen = UNKNOWN;
        self.tcp_inq = UNKNOWN;
        self.tcp_congestion[0] = 0;
        self.tcp_ulp[0] = 0;
    }

    #[inline(always)]
    fn tcp(&mut self, copy: &Snapshot) {
        /// `TCP_NAGLE_OFF` and `TCP_NAGLE_CORK`, include/net/tcp.h.
        const OFF: i32 = 1;
        const CORK: i32 = 2;
        let nagle = copy.byte(place!(nonagle));
        self.tcp_nodelay = i32::from(nagle & OFF != 0);
        self.tcp_cork = i32::from(nagle & CORK != 0);
        self.tcp_keepidle = seconds(copy.get::<u32>(place!(keepalive_time)));
        self.tcp_keepintvl = seconds(copy.get::<u32>(place!(keepalive_intvl)));
        self.tcp_keepcnt = copy.byte(place!(keepalive_probes));
        self.tcp_user_timeout = copy.word(place!(user_timeout));
        self.tcp_defer_accept = copy.byte(place!(defer_accept));
        self.tcp_syncnt = copy.byte(place!(syn_retries));
        let linger2: i32 = copy.get(place!(linger2));
        self.tcp_linger2 = if linger2 < 0 {
            -1
        } else {
            seconds(linger2 as u32)
        };
        self.tcp_notsent_lowat = copy.word(place!(notsent_lowat));
        self.tcp_maxseg = copy.word(place!(mss_cache));
        self.tcp_fastopen = copy.word(place!(fastopen));
        self.tcp_inq = copy.byte(place!(recvmsg_inq));
        name(
            &mut self.tcp_congestion,
            copy.get(place!(ca_ops)),
            place!(ca_name).offset,
        );
        name(
            &mut self.tcp_ulp,
            copy.get(place!(ulp_ops)),
            place!(ulp_name).offset,
        );
    }
}

/// The name in a structure of operations; empty without one.
#[inline(always)]
fn name(to: &mut Text<16>, of: u64, offset: u32) {
    to[0] = 0;
    if of != 0 {
        // SAFETY: `to` has 16 bytes, as has the kernel's; the helper checks
        // the source.
        unsafe {
            bpf_probe_read_kernel(
                to.as_mut_ptr().cast(),
                16,
                (of + u64::from(offset)) as *const c_void,
            );
        }
        to[15] = 0;
    }
}

#[inline(always)]
fn hertz() -> u64 {
    // SAFETY: a field of a static.
    let hertz = unsafe { core::ptr::read_volatile(&raw const PLACES.hertz) };
    if hertz == 0 { 1 } else { u64::from(hertz) }
}

#[inline(always)]
fn seconds(jiffies: u32) -> i32 {
    (u64::from(jiffies) / hertz()) as i32
}

/// `MAX_SCHEDULE_TIMEOUT` is for ever, which getsockopt(2) shows as 0.
#[inline(always)]
fn milliseconds(jiffies: u64) -> i32 {
    if jiffies >= i64::MAX as u64 {
        return 0;
    }
    (jiffies * 1000 / hertz()) as i32
}
