//! Where the running kernel keeps what the rows of the socket table show.
//!
//! These are apart from [`crate::record::layout`], because of another promise. A kernel
//! that lacks a field of the fast path is refused. One that lacks a field of
//! the table leaves that column unknown.

/// A field, or bits of one byte, of a kernel structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the structure; [`Place::MISSING`] where this
    /// kernel does not have it.
    pub offset: u32,
    /// The bits in that byte, or 0 when the field is a number of its own.
    pub mask: u16,
    /// The lowest of those bits, counted from 0.
    pub shift: u16,
}

impl Place {
    /// The offset of a field that this kernel does not have.
    pub const MISSING: u32 = u32::MAX;
    /// A field that this kernel does not have.
    pub const NONE: Self = Self {
        offset: Self::MISSING,
        mask: 0,
        shift: 0,
    };

    /// Returns the place of a number of its own.
    #[must_use]
    pub const fn at(offset: u32) -> Self {
        Self {
            offset,
            mask: 0,
            shift: 0,
        }
    }

    /// Returns the place of bits of one byte.
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

/// Declares the places, with the structure and the field of each.
macro_rules! places {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The places. Those of `struct sock` and what begins with it count from
        /// the socket's start; the others from that of their structure.
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct Places {
            $($(#[$doc])* pub $name: Place,)*
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

        impl Places {
            /// Nothing known: what the object holds before the loader has
            /// filled it in.
            pub const UNKNOWN: Self = Self {
                $($name: Place::NONE,)*
                size_common: 0,
                size_tcp: 0,
                size_udp: 0,
                size_unix: 0,
                hertz: 0,
                unused: 0,
                flags: [0; flag::COUNT],
            };
        }
    };
}

/// Bits of `sk_flags`: indices into [`Places::flags`].
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

places! {
    /// `sock_common.skc_family`.
    family,
    /// `sock_common.skc_state`.
    state,
    /// `sock_common.skc_num`: the own port, host byte order.
    num,
    /// `sock_common.skc_dport`: the peer's port, network byte order.
    dport,
    /// `sock_common.skc_daddr`.
    daddr,
    /// `sock_common.skc_rcv_saddr`.
    rcv_saddr,
    /// `sock_common.skc_v6_daddr`.
    v6_daddr,
    /// `sock_common.skc_v6_rcv_saddr`.
    v6_rcv_saddr,
    /// `sock_common.skc_bound_dev_if`.
    bound_dev_if,
    /// `sock_common.skc_cookie`.
    cookie,
    /// `sock_common.skc_net.net`.
    net,
    /// `sock_common.skc_reuse`.
    reuse,
    /// `sock_common.skc_reuseport`.
    reuseport,
    /// `sock_common.skc_ipv6only`.
    ipv6only,
    /// `sock_common.skc_flags`.
    flags_word,
    /// `sock.sk_type`.
    kind,
    /// `sock.sk_protocol`.
    protocol,
    /// `sock.sk_shutdown`.
    shutdown,
    /// `sock.sk_err`.
    error,
    /// `sock.sk_error_queue.qlen`.
    error_queue,
    /// `sock.sk_receive_queue.qlen`.
    receive_queue,
    /// `sock.sk_receive_queue.next`: the first packet.
    receive_first,
    /// `sock.sk_backlog.rmem_alloc`.
    rmem_alloc,
    /// `sock.sk_rcvbuf`.
    rcvbuf,
    /// `sock.sk_sndbuf`.
    sndbuf,
    /// `sock.sk_wmem_alloc`.
    wmem_alloc,
    /// `sock.sk_wmem_queued`.
    wmem_queued,
    /// `sock.sk_ack_backlog`.
    ack_backlog,
    /// `sock.sk_max_ack_backlog`.
    max_ack_backlog,
    /// `sock.sk_ino`.
    ino,
    /// `sock.sk_uid`.
    uid,
    /// `sock.sk_socket`.
    socket,
    /// `sock.sk_wq`.
    wq,
    /// `sock.sk_user_data`.
    user_data,
    /// `sock.sk_cgrp_data.cgroup`.
    cgroup,
    /// `sock.sk_rcvlowat`.
    rcvlowat,
    /// `sock.sk_rcvtimeo`.
    rcvtimeo,
    /// `sock.sk_sndtimeo`.
    sndtimeo,
    /// `sock.sk_lingertime`.
    lingertime,
    /// `sock.sk_priority`.
    priority,
    /// `sock.sk_mark`.
    mark,
    /// `sock.sk_peek_off`.
    peek_off,
    /// `sock.sk_ll_usec`.
    ll_usec,
    /// `sock.sk_scm_credentials`.
    scm_credentials,
    /// `inet_sock.inet_flags`.
    inet_flags,
    /// `inet_sock.tos`.
    tos,
    /// `inet_sock.uc_ttl`.
    uc_ttl,
    /// `inet_sock.pmtudisc`.
    pmtudisc,
    /// `inet_connection_sock.icsk_accept_queue.qlen`.
    half_open,
    /// `inet_connection_sock.icsk_accept_queue.rskq_defer_accept`.
    defer_accept,
    /// `inet_connection_sock.icsk_accept_queue.fastopenq.max_qlen`.
    fastopen,
    /// `inet_connection_sock.icsk_user_timeout`.
    user_timeout,
    /// `inet_connection_sock.icsk_syn_retries`.
    syn_retries,
    /// `inet_connection_sock.icsk_ca_ops`.
    ca_ops,
    /// `inet_connection_sock.icsk_ulp_ops`.
    ulp_ops,
    /// `tcp_sock.write_seq`.
    write_seq,
    /// `tcp_sock.copied_seq`.
    copied_seq,
    /// `tcp_sock.rcv_nxt`.
    rcv_nxt,
    /// `tcp_sock.snd_nxt`.
    snd_nxt,
    /// `tcp_sock.snd_una`.
    snd_una,
    /// `tcp_sock.urg_data`.
    urg_data,
    /// `tcp_sock.nonagle`.
    nonagle,
    /// `tcp_sock.keepalive_time`.
    keepalive_time,
    /// `tcp_sock.keepalive_intvl`.
    keepalive_intvl,
    /// `tcp_sock.keepalive_probes`.
    keepalive_probes,
    /// `tcp_sock.linger2`.
    linger2,
    /// `tcp_sock.notsent_lowat`.
    notsent_lowat,
    /// `tcp_sock.mss_cache`.
    mss_cache,
    /// `tcp_sock.recvmsg_inq`.
    recvmsg_inq,
    /// `tcp_sock.bytes_acked`.
    bytes_acked,
    /// `tcp_sock.bytes_received`.
    bytes_received,
    /// `tcp_sock.bytes_sent`.
    bytes_sent,
    /// `tcp_sock.bytes_retrans`.
    bytes_retrans,
    /// `tcp_sock.data_segs_out`.
    data_segs_out,
    /// `udp_sock.forward_deficit`.
    forward_deficit,
    /// `udp_sock.reader_queue.qlen`.
    reader_queue,
    /// `unix_sock.addr`.
    unix_addr,
    /// `unix_sock.peer`.
    unix_peer,
    /// `unix_sock.inq_len`.
    unix_inq,
    /// `socket.file`.
    socket_file,
    /// `socket.sk`.
    socket_sk,
    /// `socket_alloc.vfs_inode.i_ino`.
    socket_ino,
    /// `file.f_flags`.
    file_flags,
    /// `net.ns.inum`.
    net_inum,
    /// `cgroup.kn`.
    cgroup_kn,
    /// `kernfs_node.id`.
    kn_id,
    /// `unix_address.len`.
    unix_address_len,
    /// `unix_address.name`.
    unix_address_name,
    /// `sk_buff.len`.
    skb_len,
    /// `tcp_congestion_ops.name`.
    ca_name,
    /// `tcp_ulp_ops.name`.
    ulp_name,
    /// `sk_psock.msg_tot_len`.
    psock_redirected,
    /// `task_struct.tgid`.
    task_tgid,
    /// `task_struct.group_leader`.
    task_leader,
    /// `task_struct.comm`.
    task_comm,
    /// `task_struct.nsproxy`.
    task_nsproxy,
    /// `nsproxy.net_ns`.
    nsproxy_net,
    /// `inet_timewait_sock.tw_substate`.
    tw_substate,
    /// `INET_FLAGS_FREEBIND` in `inet_flags`.
    inet_freebind,
    /// `INET_FLAGS_TRANSPARENT` in `inet_flags`.
    inet_transparent,
    /// `INET_FLAGS_RECVERR` in `inet_flags`.
    inet_recverr,
    /// `INET_FLAGS_BIND_ADDRESS_NO_PORT` in `inet_flags`.
    inet_no_port,
}
