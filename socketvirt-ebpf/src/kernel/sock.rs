//! The kernel's own structures of sockets and cgroups, and what they tell.

use socketvirt_common::{
    record::{
        layout::KernelLayout,
        pair::{PacketHash, Sequences},
    },
    rule::suitable::{Candidate, Reading, Unread},
    uapi::O_NONBLOCK,
};

use super::load::{layout, offset, read};

/// `1 << SOCK_NOSPACE`, include/linux/net.h.
const SOCK_NOSPACE: u64 = 1 << 2;

/// `SOCK_RCVBUF_LOCK`, include/uapi/linux/socket.h.
const SOCK_RCVBUF_LOCK: u8 = 2;

/// Cgroups above a socket's own that are looked at.
const MAX_CGROUP_DEPTH: u32 = 16;

/// Returns the socket of a callback as a number, which can be an argument where the
/// verifier refuses a pointer.
#[inline(always)]
pub fn called(ops: u64) -> Sock {
    Sock(read(ops, offset!(ops_sk)))
}

/// Returns the request of a callback, and the listener that it asks. A program is
/// shown no such socket, but its context is the kernel's own record. A request
/// begins as a socket does.
#[inline(always)]
pub fn asked(ops: u64) -> (Sock, Sock) {
    let request: u64 = read(ops, offset!(ops_sk));
    (
        Sock(request),
        Sock(read(request, offset!(request_listener))),
    )
}

/// The address of a `struct sock`, which is also that of its `tcp_sock`.
#[derive(Clone, Copy)]
pub struct Sock(pub u64);

impl Sock {
    /// `skc_cookie`: 0 when the memory is gone or the socket has none.
    #[inline(always)]
    pub fn cookie(self) -> u64 {
        read(self.0, offset!(sk_cookie))
    }

    /// `skc_state`.
    #[inline(always)]
    pub fn state(self) -> u8 {
        read(self.0, offset!(sk_state))
    }

    /// `sk_shutdown`.
    #[inline(always)]
    pub fn shutdown(self) -> u8 {
        read(self.0, offset!(sk_shutdown))
    }

    /// `sk_err`: the reason that the connection has ended, until the program
    /// was told.
    #[inline(always)]
    pub fn error(self) -> u32 {
        read(self.0, offset!(sk_err))
    }

    /// True when there is a file: the program can still make calls.
    #[inline(always)]
    pub fn has_file(self) -> bool {
        self.file() != 0
    }

    /// True when some program keeps something of the socket, such as its flow.
    #[inline(always)]
    pub fn has_storage(self) -> bool {
        read::<u64>(self.0, offset!(sk_bpf_storage)) != 0
    }

    /// `sk_rmem_alloc`.
    #[inline(always)]
    pub fn queued(self) -> u32 {
        read(self.0, offset!(sk_rmem_alloc))
    }

    /// `sk_rcvbuf`.
    #[inline(always)]
    pub fn rcvbuf(self) -> u32 {
        read(self.0, offset!(sk_rcvbuf))
    }

    /// True when its program has set `SO_RCVBUF`: the kernel then leaves the buffer as it
    /// is. Also when that is not known.
    #[inline(always)]
    pub fn has_fixed_buffer(self) -> bool {
        offset!(sk_userlocks) == KernelLayout::MISSING
            || read::<u8>(self.0, offset!(sk_userlocks)) & SOCK_RCVBUF_LOCK != 0
    }

    /// `tcp_sock.copied_seq`.
    #[inline(always)]
    pub fn copied_seq(self) -> u32 {
        read(self.0, offset!(copied_seq))
    }

    /// True when `copied_seq` is where plain TCP has it at the end of the
    /// stream.
    ///
    /// `tcp_bpf_recvmsg_parser` moves it each time that the end is read.
    /// FIONREAD of a plain socket would then answer less than nothing.
    /// (K-RECV-8 in `docs/kernel`.)
    #[inline(always)]
    pub fn knows_end(self) -> bool {
        self.rcv_nxt().wrapping_sub(self.copied_seq()) <= 1
    }

    /// True when the program was told to wait for room to send (`SOCK_NOSPACE`)
    /// and nothing is under way: no acknowledgement will come.
    #[inline(always)]
    pub fn waits_for_nothing(self) -> bool {
        let socket: u64 = read(self.0, offset!(sk_socket));
        let flags: u64 = read(socket, offset!(socket_flags));
        flags & SOCK_NOSPACE != 0 && self.write_seq() == read::<u32>(self.0, offset!(snd_una))
    }

    /// `tcp_sock.notsent_lowat`, bytes.
    #[inline(always)]
    pub fn notsent_lowat(self) -> u32 {
        read(self.0, offset!(notsent_lowat))
    }

    /// `tcp_sock.rcv_nxt`: the next byte that the stack expects.
    #[inline(always)]
    pub fn rcv_nxt(self) -> u32 {
        read(self.0, offset!(rcv_nxt))
    }

    /// Returns what the socket can still tell of the handshake.
    #[inline(always)]
    pub fn sequences(self) -> Sequences {
        Sequences::new(
            read(self.0, offset!(snd_una)),
            read(self.0, offset!(bytes_acked)),
            self.rcv_nxt(),
            read(self.0, offset!(bytes_received)),
        )
    }

    /// Returns the hash of the packets that the socket receives, and of its
    /// own.
    #[inline(always)]
    pub fn packet_hash(self) -> PacketHash {
        PacketHash {
            sent: read(self.0, offset!(sk_txhash)),
            received: read(self.0, offset!(sk_rxhash)),
        }
    }

    /// Payload bytes sent by the stack, retransmissions not counted.
    #[inline(always)]
    pub fn bytes_sent(self) -> u64 {
        let sent: u64 = read(self.0, offset!(bytes_sent));
        let again: u64 = read(self.0, offset!(bytes_retrans));
        sent.wrapping_sub(again)
    }

    /// `tcp_sock.write_seq`: the byte after the last one that the stack was given.
    #[inline(always)]
    pub fn write_seq(self) -> u32 {
        read(self.0, offset!(write_seq))
    }

    /// `tcp_sock.data_segs_out`.
    #[inline(always)]
    pub fn data_segments_out(self) -> u32 {
        read(self.0, offset!(data_segs_out))
    }

    /// `SO_RCVLOWAT` in bytes.
    #[inline(always)]
    pub fn rcvlowat(self) -> i32 {
        read(self.0, offset!(sk_rcvlowat))
    }

    /// True when `sk_receive_queue` is empty.
    #[inline(always)]
    pub fn receive_queue_empty(self) -> bool {
        read::<u32>(self.0, offset!(sk_receive_queue_len)) == 0
    }

    /// Own and other port, host byte order.
    #[inline(always)]
    pub fn ports(self) -> (u16, u16) {
        let remote: u16 = read(self.0, offset!(sk_dport));
        (read(self.0, offset!(sk_num)), u16::from_be(remote))
    }

    /// Returns the id of the cgroup in which the socket was made; 0 when it has
    /// none.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        Cgroup(read(self.0, offset!(sk_cgroup))).id()
    }

    /// Returns the open file; 0 before accept and after close.
    #[inline(always)]
    pub fn file(self) -> u64 {
        let socket: u64 = read(self.0, offset!(sk_socket));
        if socket == 0 {
            return 0;
        }
        read(socket, offset!(socket_file))
    }

    /// Returns the number of its network namespace.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        read(self.net(), offset!(net_inum))
    }

    /// Returns the address of its network namespace.
    #[inline(always)]
    pub fn net(self) -> u64 {
        read(self.0, offset!(sk_net))
    }

    /// Returns the number of references to its file. These are descriptors, in
    /// any process or on their way to one, and calls of threads that share a
    /// table of them.
    #[inline(always)]
    pub fn holders(self) -> u64 {
        let refs: u64 = read(self.file(), offset!(file_refs));
        refs + 1 - layout!(file_refs_one)
    }

    /// True when the socket was made in the cgroup with this id or below it.
    #[inline(always)]
    pub fn is_within(self, id: u64) -> bool {
        Cgroup(read(self.0, offset!(sk_cgroup))).is_within(id)
    }

    /// Reads what makes a socket suitable. `enrolled` sockets own
    /// their `sk_user_data`; others must have none.
    #[inline(always)]
    pub fn candidate(self, enrolled: bool) -> Candidate {
        let flags: u64 = read(self.0, offset!(sk_flags));
        let mptcp: u8 = read(self.0, offset!(is_mptcp_byte));
        let inq: u8 = read(self.0, offset!(recvmsg_inq_byte));
        let file = self.file();
        Candidate {
            state: self.state(),
            shutdown: self.shutdown(),
            rcvlowat: self.rcvlowat(),
            peek_off: read(self.0, offset!(sk_peek_off)),
            zero_copy: flags & layout!(sk_flags_zerocopy) != 0,
            timestamp: flags & layout!(sk_flags_timestamp) != 0,
            inq: u32::from(inq) & offset!(recvmsg_inq_mask) != 0,
            ulp: read::<u64>(self.0, offset!(icsk_ulp_ops)) != 0,
            mptcp: u32::from(mptcp) & offset!(is_mptcp_mask) != 0,
            urgent: read::<u16>(self.0, offset!(urg_data)) != 0
                || read::<u32>(self.0, offset!(urg_seq)) != 0,
            signals: file != 0 && read::<u64>(file, offset!(file_owner)) != 0,
            filtered: read::<u64>(self.0, offset!(sk_filter)) != 0,
            paced: read::<u64>(self.0, offset!(sk_max_pacing_rate)) != u64::MAX,
            mapped: self.is_mapped(),
            charged: self.memory_group() != 0,
            foreign: !enrolled && read::<u64>(self.0, offset!(sk_user_data)) != 0,
        }
    }

    /// True when a program has mapped the socket into its memory.
    #[inline(always)]
    fn is_mapped(self) -> bool {
        let socket: u64 = read(self.0, offset!(sk_socket));
        socket != 0 && read::<u64>(socket, offset!(socket_mappings)) != 0
    }

    /// True when a call that finds nothing sleeps in the kernel.
    #[inline(always)]
    pub fn is_blocking(self) -> bool {
        let file = self.file();
        file != 0 && read::<u32>(file, offset!(file_flags)) & O_NONBLOCK == 0
    }

    /// Reads how the program reads the socket.
    #[inline(always)]
    pub fn reading(self) -> Reading {
        let file = self.file();
        let has_file = file != 0;
        Reading {
            has_file,
            nonblocking: has_file && read::<u32>(file, offset!(file_flags)) & O_NONBLOCK != 0,
            reader_asleep: self.sleepers() > 0,
            unread: self.unread(),
        }
    }

    /// Reads what has arrived and was not read yet.
    #[inline(always)]
    pub fn unread(self) -> Unread {
        let copied_seq = self.copied_seq();
        let first: u64 = read(self.0, offset!(sk_receive_queue_first));
        Unread {
            bytes: self.rcv_nxt().wrapping_sub(copied_seq),
            packets: read(self.0, offset!(sk_receive_queue_len)),
            // For an empty queue it is the queue itself, and nobody asks.
            whole: read::<u32>(first, offset!(skb_seq)) == copied_seq,
            in_call: self.in_call(),
        }
    }
}

/// The address of a `struct cgroup`, or 0.
#[derive(Clone, Copy)]
pub struct Cgroup(u64);

impl Cgroup {
    /// Returns the cgroup of a process, by the address of its
    /// `struct task_struct`.
    #[inline(always)]
    pub fn of_task(task: u64) -> Self {
        let set: u64 = read(task, offset!(task_cgroups));
        Self(read(set, offset!(css_set_cgroup)))
    }

    /// True when it is the one at this address.
    #[inline(always)]
    pub fn is(self, address: u64) -> bool {
        self.0 == address
    }

    /// Returns the inode number of its folder; 0 when there is none.
    #[inline(always)]
    pub fn id(self) -> u64 {
        let node: u64 = read(self.0, offset!(cgroup_kn));
        read(node, offset!(kn_id))
    }

    /// True when it is the cgroup with this id or below it.
    #[inline(always)]
    pub fn is_within(self, id: u64) -> bool {
        let mut cgroup = self;
        for _ in 0..MAX_CGROUP_DEPTH {
            if cgroup.0 == 0 {
                return false;
            }
            if cgroup.id() == id {
                return true;
            }
            cgroup = Self(read(cgroup.0, offset!(cgroup_parent)));
        }
        false
    }
}

const _: () = assert!(size_of::<KernelLayout>().is_multiple_of(8));
