//! Where the running kernel keeps what the rows of the socket table show.
//!
//! These are apart from [`crate::record::layout`], because of another promise. A kernel
//! that lacks a field of the fast path is refused. One that lacks a field of
//! the table leaves that column unknown. The lines of both are alike
//! ([`crate::record::line`]).

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::line::{Line, without};

/// A field, or bits of one byte, of a kernel structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Field {
    /// Bytes from the start of the structure; [`Field::MISSING`] where this
    /// kernel does not have it.
    pub offset: u32,
    /// The bits in that byte, or 0 when the field is a number of its own.
    pub mask: u16,
    /// The lowest of those bits, counted from 0.
    pub shift: u16,
}

impl Field {
    /// The offset of a field that this kernel does not have.
    pub const MISSING: u32 = u32::MAX;
    /// A field that this kernel does not have.
    pub const NONE: Self = Self {
        offset: Self::MISSING,
        mask: 0,
        shift: 0,
    };

    /// Returns the field of a number of its own.
    #[must_use]
    pub const fn at(offset: u32) -> Self {
        Self {
            offset,
            mask: 0,
            shift: 0,
        }
    }

    /// Returns the field of bits of one byte.
    #[must_use]
    pub const fn bits(offset: u32, mask: u8) -> Self {
        Self {
            offset,
            mask: mask as u16,
            // Of eight bits, so at most 8.
            shift: (mask.trailing_zeros() & 0xf) as u16,
        }
    }
}

/// Declares the fields, and the table that finds them: one line a field.
macro_rules! fields {
    ($($structure:ident {
        $($(#[$doc:meta])* $name:ident = $member:literal, $size:literal, $word:ident $(: $text:literal)?;)*
    })*) => {
        /// The fields. Those of `struct sock` and what begins with it count from
        /// the socket's start; the others from that of their structure.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
        pub struct Fields {
            $($(
                #[doc = concat!("`", stringify!($structure), ".", $member, "`.")]
                #[doc = ""]
                $(#[$doc])*
                pub $name: Field,
            )*)*
            /// Bytes of `sock_common`.
            pub size_common: u32,
            /// Bytes of `tcp_sock`.
            pub size_tcp: u32,
            /// Bytes of `udp_sock`.
            pub size_udp: u32,
            /// Bytes of `unix_sock`.
            pub size_unix: u32,
            /// Jiffies in a second.
            pub hertz: u32,
            /// `SOCK_*` bits of `sk_flags`, one after another as in
            /// [`flag`]; 0 for one that this kernel does not have.
            pub unused: u32,
            /// See [`flag`].
            pub flags: [u64; flag::COUNT],
        }

        impl Fields {
            /// Nothing known: what the object holds before the agent has
            /// filled it in.
            pub const UNKNOWN: Self = Self {
                $($($name: Field::NONE,)*)*
                size_common: 0,
                size_tcp: 0,
                size_udp: 0,
                size_unix: 0,
                hertz: 0,
                unused: 0,
                flags: [0; flag::COUNT],
            };

            /// Where kernels have the fields.
            pub const TABLE: &'static [Line<Self, Field>] = &[$($(Line {
                structure: stringify!($structure),
                member: $member,
                size: $size,
                without: without!($word $(: $text)?),
                place: |fields| &mut fields.$name,
            },)*)*];
        }
    };
}

/// Bits of `sk_flags`: indices into [`Fields::flags`].
pub mod flag {
    /// `SOCK_DEAD`.
    pub const DEAD: usize = 0;
    /// `SOCK_URGINLINE`.
    pub const URGINLINE: usize = 1;
    /// `SOCK_KEEPOPEN`.
    pub const KEEPOPEN: usize = 2;
    /// `SOCK_LINGER`.
    pub const LINGER: usize = 3;
    /// `SOCK_BROADCAST`.
    pub const BROADCAST: usize = 4;
    /// `SOCK_RCVTSTAMP`.
    pub const RCVTSTAMP: usize = 5;
    /// `SOCK_LOCALROUTE`.
    pub const LOCALROUTE: usize = 6;
    /// `SOCK_ZEROCOPY`.
    pub const ZEROCOPY: usize = 7;
    /// Number of these flags.
    pub const COUNT: usize = 8;
    /// Their names in the kernel.
    pub const NAMES: [&str; COUNT] = [
        "SOCK_DEAD",
        "SOCK_URGINLINE",
        "SOCK_KEEPOPEN",
        "SOCK_LINGER",
        "SOCK_BROADCAST",
        "SOCK_RCVTSTAMP",
        "SOCK_LOCALROUTE",
        "SOCK_ZEROCOPY",
    ];
}

fields! {
    sock_common {
        family = "skc_family", 2, needed: "a row's identity";
        state = "skc_state", 1, needed: "a row's identity";
        /// Host byte order.
        num = "skc_num", 2, needed: "a row's identity";
        cookie = "skc_cookie", 8, needed: "a row's identity";
        flags_word = "skc_flags", 8, needed: "a row's identity";
        /// Network byte order.
        dport = "skc_dport", 2, unknown: "the peer's port";
        daddr = "skc_daddr", 4, unknown: "the peer's address, of IPv4";
        rcv_saddr = "skc_rcv_saddr", 4, unknown: "the own address, of IPv4";
        v6_daddr = "skc_v6_daddr", 16, unknown: "the peer's address, of IPv6";
        v6_rcv_saddr = "skc_v6_rcv_saddr", 16, unknown: "the own address, of IPv6";
        bound_dev_if = "skc_bound_dev_if", 4, unknown: "SO_BINDTOIFINDEX";
        net = "skc_net.net", 8, unknown: "the network namespace";
        reuse = "skc_reuse", 0, unknown: "SO_REUSEADDR";
        reuseport = "skc_reuseport", 0, unknown: "SO_REUSEPORT";
        ipv6only = "skc_ipv6only", 0, unknown: "IPV6_V6ONLY";
    }
    sock {
        kind = "sk_type", 2, needed: "a row's identity";
        protocol = "sk_protocol", 2, needed: "a row's identity";
        shutdown = "sk_shutdown", 1, needed: "a row's identity";
        socket = "sk_socket", 8, needed: "a row's identity";
        error = "sk_err", 4, unknown: "the error that waits";
        error_queue = "sk_error_queue.qlen", 4, unknown: "POLLERR";
        receive_queue = "sk_receive_queue.qlen", 4, unknown: "whether packets are unread";
        /// The first packet.
        receive_first = "sk_receive_queue.next", 8, unknown: "how much is unread, of UDP";
        rmem_alloc = "sk_backlog.rmem_alloc", 4, unknown: "the memory of the receive queue";
        rcvbuf = "sk_rcvbuf", 4, unknown: "SO_RCVBUF";
        sndbuf = "sk_sndbuf", 4, unknown: "SO_SNDBUF";
        wmem_alloc = "sk_wmem_alloc", 4, unknown: "the memory of the send queue";
        wmem_queued = "sk_wmem_queued", 4, unknown: "the memory of the send queue, of TCP";
        ack_backlog = "sk_ack_backlog", 4, unknown: "connections that wait for accept(2)";
        max_ack_backlog = "sk_max_ack_backlog", 4, unknown: "the limit of a listener";
        /// Newer kernels only; see `socket_ino`.
        ino = "sk_ino", 8, elsewhere;
        uid = "sk_uid", 4, unknown: "the user";
        wq = "sk_wq", 8, unknown: "who waits";
        user_data = "sk_user_data", 8, unknown: "redirected bytes that are unread";
        cgroup = "sk_cgrp_data.cgroup", 8, unknown: "the cgroup";
        rcvlowat = "sk_rcvlowat", 4, unknown: "SO_RCVLOWAT";
        rcvtimeo = "sk_rcvtimeo", 8, unknown: "SO_RCVTIMEO";
        sndtimeo = "sk_sndtimeo", 8, unknown: "SO_SNDTIMEO";
        lingertime = "sk_lingertime", 8, unknown: "SO_LINGER";
        priority = "sk_priority", 4, unknown: "SO_PRIORITY";
        mark = "sk_mark", 4, unknown: "SO_MARK";
        peek_off = "sk_peek_off", 4, unknown: "SO_PEEK_OFF";
        ll_usec = "sk_ll_usec", 4, unknown: "SO_BUSY_POLL";
        scm_credentials = "sk_scm_credentials", 0, unknown: "SO_PASSCRED";
    }
    inet_sock {
        /// From 6.6 on, where the four below are bits of it.
        inet_flags = "inet_flags", 8, elsewhere;
        tos = "tos", 1, unknown: "IP_TOS";
        uc_ttl = "uc_ttl", 2, unknown: "IP_TTL";
        pmtudisc = "pmtudisc", 0, unknown: "IP_MTU_DISCOVER";
        inet_freebind = "freebind", 0, unknown: "IP_FREEBIND";
        inet_transparent = "transparent", 0, unknown: "IP_TRANSPARENT";
        inet_recverr = "recverr", 0, unknown: "IP_RECVERR";
        inet_no_port = "bind_address_no_port", 0, unknown: "IP_BIND_ADDRESS_NO_PORT";
    }
    inet_connection_sock {
        half_open = "icsk_accept_queue.qlen", 4, unknown: "handshakes under way, of a listener";
        defer_accept = "icsk_accept_queue.rskq_defer_accept", 1, unknown: "TCP_DEFER_ACCEPT";
        fastopen = "icsk_accept_queue.fastopenq.max_qlen", 4, unknown: "TCP_FASTOPEN";
        user_timeout = "icsk_user_timeout", 4, unknown: "TCP_USER_TIMEOUT";
        syn_retries = "icsk_syn_retries", 1, unknown: "TCP_SYNCNT";
        ca_ops = "icsk_ca_ops", 8, unknown: "TCP_CONGESTION";
        ulp_ops = "icsk_ulp_ops", 8, unknown: "TCP_ULP";
    }
    tcp_sock {
        write_seq = "write_seq", 4, unknown: "how much waits to be sent, of TCP";
        copied_seq = "copied_seq", 4, unknown: "how much is unread, of TCP";
        rcv_nxt = "rcv_nxt", 4, unknown: "how much is unread, of TCP";
        snd_nxt = "snd_nxt", 4, unknown: "the row of the peer";
        snd_una = "snd_una", 4, unknown: "how much waits to be sent, of TCP";
        urg_data = "urg_data", 2, unknown: "POLLPRI";
        nonagle = "nonagle", 0, unknown: "TCP_NODELAY and TCP_CORK";
        keepalive_time = "keepalive_time", 4, unknown: "TCP_KEEPIDLE";
        keepalive_intvl = "keepalive_intvl", 4, unknown: "TCP_KEEPINTVL";
        keepalive_probes = "keepalive_probes", 1, unknown: "TCP_KEEPCNT";
        linger2 = "linger2", 4, unknown: "TCP_LINGER2";
        notsent_lowat = "notsent_lowat", 4, unknown: "TCP_NOTSENT_LOWAT";
        mss_cache = "mss_cache", 4, unknown: "TCP_MAXSEG";
        recvmsg_inq = "recvmsg_inq", 0, unknown: "TCP_INQ";
        bytes_acked = "bytes_acked", 8, unknown: "the row of the peer";
        bytes_received = "bytes_received", 8, unknown: "the row of the peer";
        bytes_sent = "bytes_sent", 8, unknown: "bytes sent by the stack";
        bytes_retrans = "bytes_retrans", 8, unknown: "bytes sent by the stack";
        data_segs_out = "data_segs_out", 4, unknown: "messages sent by the stack";
    }
    inet_timewait_sock {
        tw_substate = "tw_substate", 1, unknown: "the state of a connection that is over";
    }
    tcp_congestion_ops {
        ca_name = "name", 0, unknown: "TCP_CONGESTION";
    }
    tcp_ulp_ops {
        ulp_name = "name", 0, unknown: "TCP_ULP";
    }
    udp_sock {
        forward_deficit = "forward_deficit", 4, unknown: "how much is unread, of UDP";
        reader_queue = "reader_queue.qlen", 4, unknown: "whether packets are unread, of UDP";
    }
    unix_sock {
        unix_addr = "addr", 8, unknown: "the address, of Unix sockets";
        unix_peer = "peer", 8, unknown: "the row of the peer, of Unix sockets";
        unix_inq = "inq_len", 4, unknown: "how much is unread, of Unix sockets";
    }
    unix_address {
        unix_address_len = "len", 4, unknown: "the address, of Unix sockets";
        unix_address_name = "name", 0, unknown: "the address, of Unix sockets";
    }
    sk_buff {
        skb_len = "len", 4, unknown: "how much is unread, of UDP";
    }
    sk_psock {
        psock_redirected = "msg_tot_len", 4, unknown: "redirected bytes that are unread";
    }
    socket {
        socket_file = "file", 8, unknown: "the flags of the file";
        socket_sk = "sk", 8, needed: "a row's identity";
    }
    socket_alloc {
        socket_ino = "vfs_inode.i_ino", 8, unknown: "the inode of the socket's file";
    }
    file {
        file_flags = "f_flags", 4, unknown: "O_NONBLOCK";
    }
    net {
        net_inum = "ns.inum", 4, unknown: "the network namespace";
    }
    cgroup {
        cgroup_kn = "kn", 8, unknown: "the cgroup";
    }
    kernfs_node {
        kn_id = "id", 8, unknown: "the cgroup";
    }
    task_struct {
        task_tgid = "tgid", 4, unknown: "the processes that have the socket";
        task_leader = "group_leader", 8, unknown: "the processes that have the socket";
        task_comm = "comm", 0, unknown: "the names of processes";
        task_nsproxy = "nsproxy", 8, unknown: "the network namespace of a new socket";
    }
    nsproxy {
        nsproxy_net = "net_ns", 8, unknown: "the network namespace of a new socket";
    }
}
