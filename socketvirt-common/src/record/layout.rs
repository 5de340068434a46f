//! Where the running kernel keeps what the programs read.
//!
//! Rust has no CO-RE. The agent resolves every offset from the kernel's own
//! BTF, and writes this struct into the object's read-only data before the
//! programs are verified. The verifier then sees constants.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::line::{Line, without};

/// The numbers of the system calls that are told apart. All are 0 where it is not known
/// which call a program is in.
///
/// Of those that send, write(2), writev(2), sendfile(2) and splice(2) carry no
/// flags. What `io_uring` sends is not told: its program is in another call, or
/// in none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Calls {
    /// sendto(2), which send(2) is too: the flags are its fourth argument.
    pub sendto: u32,
    /// sendmsg(2): the third.
    pub sendmsg: u32,
    /// sendmmsg(2): the fourth.
    pub sendmmsg: u32,
    /// recvfrom(2), which recv(2) is too: the flags are its fourth argument.
    pub recvfrom: u32,
    /// recvmsg(2): the third.
    pub recvmsg: u32,
    /// recvmmsg(2): the fourth.
    pub recvmmsg: u32,
    /// splice(2).
    pub splice: u32,
    /// write(2).
    pub write: u32,
    /// writev(2).
    pub writev: u32,
    /// ioctl(2).
    pub ioctl: u32,
}

/// Declares the offsets, and the table that finds them: one line a field.
macro_rules! offsets {
    ($($structure:ident {
        $($(#[$doc:meta])* $name:ident = $member:literal, $size:literal, $word:ident $(: $text:literal)?;)*
    })*) => {
        /// Byte offsets into kernel structures, all from the start of the structure
        /// named first in the field's documentation. `struct tcp_sock` begins with
        /// `struct sock`, so one address serves both.
        ///
        /// All words are below 2^31, as programs have them in their instructions (see
        /// [`OFFSET`]).
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
        pub struct KernelLayout {
            $($(
                #[doc = concat!("`", stringify!($structure), ".", $member, "`, bytes: ", $size, ".")]
                #[doc = ""]
                $(#[$doc])*
                pub $name: u32,
            )*)*
            /// The byte of `tcp_sock` that holds the bit `is_mptcp`.
            pub is_mptcp_byte: u32,
            /// The mask of `is_mptcp` in that byte (all bits where it is a `bool`); 0 on
            /// a kernel without MPTCP.
            pub is_mptcp_mask: u32,
            /// The byte of `tcp_sock` that holds the bit `recvmsg_inq` (`TCP_INQ`).
            pub recvmsg_inq_byte: u32,
            /// The mask of `recvmsg_inq` in that byte.
            pub recvmsg_inq_mask: u32,
            /// The number of the agent's own pid namespace.
            pub own_pidns: u32,
            /// The number of `struct tcp_sock` among the kernel's types, where programs
            /// may cast to it (see [`CAST`]); 0 elsewhere.
            pub tcp_sock_type: u32,
            /// The number of the function `bpf_rdonly_cast` there.
            pub cast_function: u32,
            /// The number of the function `bpf_sock_destroy` (see [`DESTROY`]); 0 where
            /// visits may not call it.
            pub destroy_function: u32,
            /// Nanoseconds of a tick, in which the kernel counts `jiffies`.
            pub tick: u32,
            /// The root of the tree of mappings of a socket's inode (8 bytes): null
            /// while there are none. The inode lies behind its `struct socket` in one
            /// `struct socket_alloc`.
            pub socket_mappings: u32,
            /// `file.f_owner` (8 bytes), or `file.f_owner.pid` before 6.12: not null
            /// when a process has asked for signals.
            pub file_owner: u32,
            /// `file.f_ref` (8 bytes), or `file.f_count` before 6.13: who holds the file.
            pub file_refs: u32,
            /// Says how far the memory of a cgroup can be read.
            pub charging: Charging,
            /// Processors that there may be.
            pub cpus: u32,
            /// `sk_buff.cb`, to the `seq` of the `struct tcp_skb_cb` that TCP has in it
            /// (4 bytes): the number of the packet's first byte.
            pub skb_seq: u32,
            /// The same to its `end_seq` (4 bytes): the number after its last one.
            pub skb_end_seq: u32,
            /// `pt_regs`: the number of the system call that the program is in (8
            /// bytes). It and the two arguments are 0 where they are not known.
            pub call_number: u32,
            /// The third argument (8 bytes).
            pub call_third: u32,
            /// The fourth argument (8 bytes).
            pub call_fourth: u32,
            /// From `struct socket` to the `i_gid` of its inode (4 bytes).
            pub socket_gid: u32,
            /// The numbers of the system calls that are told apart.
            pub calls: Calls,
            /// Bits of `sk_flags`, as numbered by this kernel's `enum sock_flags`,
            /// that ask for zero-copy sends: `SOCK_ZEROCOPY`.
            pub sk_flags_zerocopy: u64,
            /// Bits of `sk_flags` that ask for something beside the bytes, which a
            /// redirect does not carry. These are receive time stamps
            /// (`SOCK_RCVTSTAMP`, `SOCK_TIMESTAMPING_RX_SOFTWARE`, and
            /// `SOCK_TIMESTAMPING_ANY` where the kernel has it) and the urgent mark
            /// (`SOCK_URGINLINE`).
            pub sk_flags_timestamp: u64,
            /// The value of `file_refs` while one descriptor alone holds the file.
            pub file_refs_one: u64,
            /// Kernel address of `ep_poll_callback`: a waiter with this function is an
            /// epoll instance. 0 when it is not known.
            pub ep_poll_callback: u64,
            /// Kernel address of `pollwake`: a waiter in poll(2) or select(2). 0 when
            /// it is not known.
            pub pollwake: u64,
        }

        impl KernelLayout {
            /// Where kernels have those that lie at a place of their own.
            pub const TABLE: &'static [Line<Self, u32>] = &[$($(Line {
                structure: stringify!($structure),
                member: $member,
                size: $size,
                without: without!($word $(: $text)?),
                place: |layout| &mut layout.$name,
            },)*)*];
        }
    };
}

offsets! {
    sock {
        sk_cookie = "__sk_common.skc_cookie", 8, needed: "the socket's unique id";
        /// The own port, host byte order.
        sk_num = "__sk_common.skc_num", 2, needed: "the port of a service";
        /// The other port, network byte order.
        sk_dport = "__sk_common.skc_dport", 2, needed: "the port of a service";
        /// The hash of the packet received last.
        sk_rxhash = "__sk_common.skc_rxhash", 4, needed: "which packets are whose";
        sk_state = "__sk_common.skc_state", 1, needed: "the TCP state";
        /// Bytes charged to the receive queues.
        sk_rmem_alloc = "sk_backlog.rmem_alloc", 4, needed: "how full the receiver's queue is";
        sk_rcvbuf = "sk_rcvbuf", 4, needed: "the limit of the receiver's queue";
        /// Bits of `SOCK_SNDBUF_LOCK` and others. A bit field on older kernels.
        sk_userlocks = "sk_userlocks", 1, unknown: "which receive buffers may grow, for streams between namespaces";
        sk_receive_queue_len = "sk_receive_queue.qlen", 4, needed: "whether packets are unread";
        /// The first packet.
        sk_receive_queue_first = "sk_receive_queue.next", 8, needed: "which packets are unread";
        /// A list head: calls that wait for the socket's lock.
        sk_lock_waiters = "sk_lock.wq.head", 16, needed: "who waits for a socket's lock";
        sk_rcvlowat = "sk_rcvlowat", 4, needed: "SO_RCVLOWAT";
        /// Bits of `enum sock_flags`.
        sk_flags = "__sk_common.skc_flags", 8, needed: "socket options";
        /// The error that waits for the program.
        sk_err = "sk_err", 4, needed: "how a connection ended";
        sk_shutdown = "sk_shutdown", 1, needed: "whether the socket was shut down";
        /// Signed: `SO_PEEK_OFF`, -1 when unset.
        sk_peek_off = "sk_peek_off", 4, needed: "SO_PEEK_OFF";
        /// The psock, its two low bits are flags (`SK_USER_DATA_*`, three from 5.19 on).
        sk_user_data = "sk_user_data", 8, needed: "who else owns the socket";
        /// Null before accept and after close.
        sk_socket = "sk_socket", 8, needed: "whether the socket is in use";
        /// Null while no program keeps anything of the socket.
        sk_bpf_storage = "sk_bpf_storage", 8, needed: "which sockets are followed";
        /// The wait queue of the file.
        sk_wq = "sk_wq", 8, needed: "who waits on the socket";
        /// The hash that every packet of the socket carries.
        sk_txhash = "sk_txhash", 4, needed: "which packets are whose";
        /// The socket filter, null without one.
        sk_filter = "sk_filter", 8, needed: "socket filters";
        /// `SO_MAX_PACING_RATE` in bytes a second, all ones when unset.
        sk_max_pacing_rate = "sk_max_pacing_rate", 8, needed: "SO_MAX_PACING_RATE";
        /// The cgroup that the socket was made in.
        sk_cgroup = "sk_cgrp_data.cgroup", 8, needed: "a socket's cgroup";
        /// The socket's network namespace.
        sk_net = "__sk_common.skc_net", 0, needed: "a socket's network namespace";
        sk_prot = "__sk_common.skc_prot", 8, needed: "whether memory for TCP is short";
        /// Null when nobody limits the socket's memory.
        sk_memcg = "sk_memcg", 8, unknown: "how much memory a cgroup has left";
        sk_family = "__sk_common.skc_family", 2, needed: "addresses, for the policy";
        /// The own address of IPv4, network byte order.
        sk_saddr = "__sk_common.skc_rcv_saddr", 4, needed: "addresses, for the policy";
        /// The other address of IPv4.
        sk_daddr = "__sk_common.skc_daddr", 4, needed: "addresses, for the policy";
        /// Who has made the socket.
        sk_uid = "sk_uid", 4, needed: "whose a socket is, for the policy";
        /// The own address of IPv6.
        sk_saddr6 = "__sk_common.skc_v6_rcv_saddr", 16, unknown: "addresses of IPv6";
        /// The other address of IPv6.
        sk_daddr6 = "__sk_common.skc_v6_daddr", 16, unknown: "addresses of IPv6";
    }
    sock_common {
        /// Of a request, whom it asks.
        request_listener = "skc_listener", 8, needed: "whom a client asks";
    }
    bpf_sock_ops_kern {
        /// The socket of a callback.
        ops_sk = "sk", 8, needed: "whom a client asks";
    }
    cgroup {
        cgroup_kn = "kn", 8, needed: "a socket's cgroup";
        /// The state of the cgroup above, which is at its very beginning.
        cgroup_parent = "self.parent", 8, needed: "a socket's cgroup";
    }
    kernfs_node {
        /// The inode number of the cgroup's folder.
        kn_id = "id", 8, needed: "a cgroup's id";
    }
    tcp_sock {
        /// Not null with kTLS.
        icsk_ulp_ops = "inet_conn.icsk_ulp_ops", 8, needed: "whether kTLS is on";
        write_seq = "write_seq", 4, needed: "how much was given to the stack";
        copied_seq = "copied_seq", 4, needed: "how much the receiver has read";
        rcv_nxt = "rcv_nxt", 4, needed: "how much has arrived";
        snd_una = "snd_una", 4, needed: "how much is acknowledged";
        urg_data = "urg_data", 2, needed: "whether urgent data waits";
        /// Where the urgent data was that came last; 0 before the first (`tcp_check_urg`, which
        /// alone writes it).
        urg_seq = "urg_seq", 4, needed: "whether urgent data has come";
        bytes_acked = "bytes_acked", 8, needed: "where the connection began";
        bytes_received = "bytes_received", 8, needed: "where the connection began";
        bytes_sent = "bytes_sent", 8, needed: "bytes sent by the stack";
        bytes_retrans = "bytes_retrans", 8, needed: "bytes sent again";
        data_segs_out = "data_segs_out", 4, needed: "segments sent by the stack";
        /// `TCP_NOTSENT_LOWAT`.
        notsent_lowat = "notsent_lowat", 4, needed: "who waits for room to send";
    }
    socket {
        socket_file = "file", 8, needed: "a socket's file";
        socket_sk = "sk", 8, needed: "who splices";
        socket_flags = "flags", 8, needed: "who waits for room to send";
    }
    task_struct {
        /// Its `css_set`.
        task_cgroups = "cgroups", 8, needed: "a program's cgroup";
        task_leader = "group_leader", 8, needed: "who reads a socket";
        task_number = "tgid", 4, needed: "who reads a socket";
        /// Nanoseconds.
        task_start = "start_boottime", 8, needed: "who reads a socket";
        /// A `struct pid`.
        task_pid = "thread_pid", 8, needed: "who reads a socket";
        /// Null in a thread of the kernel.
        task_mm = "mm", 8, needed: "who reads a socket";
        task_files = "files", 8, needed: "who reads a socket";
        /// The lowest byte of its stack in the kernel.
        task_stack = "stack", 8, needed: "which call waits for a socket's lock";
    }
    css_set {
        /// Its cgroup of version 2.
        css_set_cgroup = "dfl_cgrp", 8, needed: "a program's cgroup";
    }
    net {
        /// Its number, as `/proc/<pid>/ns/net` shows it.
        net_inum = "ns.inum", 4, needed: "a socket's network namespace";
    }
    file {
        /// Of a socket's file, its `struct socket`.
        file_private = "private_data", 8, needed: "who holds a socket";
        file_inode = "f_inode", 8, needed: "who holds a socket";
        file_flags = "f_flags", 4, needed: "O_NONBLOCK";
    }
    inode {
        inode_mode = "i_mode", 2, needed: "who holds a socket";
    }
    files_struct {
        files_table = "fdt", 8, needed: "who holds a socket";
    }
    fdtable {
        table_size = "max_fds", 4, needed: "who holds a socket";
        /// An array of pointers to files.
        table_files = "fd", 8, needed: "who holds a socket";
        /// Which of them are open, as bits.
        table_open = "open_fds", 8, needed: "who holds a socket";
    }
    mm_struct {
        /// Pages that are mapped as code.
        mm_code = "exec_vm", 8, needed: "who reads a socket";
    }
    pid {
        /// How deep its pid namespace is.
        pid_level = "level", 4, needed: "who reads a socket";
        /// An array of `struct upid`, from the outermost namespace inwards. Each has
        /// 16 bytes: its number, and 8 bytes later its namespace.
        pid_numbers = "numbers", 0, needed: "who reads a socket";
    }
    pid_namespace {
        pidns_inum = "ns.inum", 4, needed: "who reads a socket";
    }
    socket_wq {
        /// A list head.
        wq_head = "wait.head", 16, needed: "who waits on a socket";
    }
    wait_queue_entry {
        /// A `struct task_struct`, where a task waits for a lock.
        wait_private = "private", 8, needed: "who waits for a socket's lock";
        wait_func = "func", 8, needed: "who waits on a socket";
        /// A list head.
        wait_entry = "entry", 16, needed: "who waits on a socket";
    }
    sk_psock {
        /// Its socket.
        psock_sk = "sk", 8, needed: "whether an enrolment is over";
        /// Its `sk_msg` program, which `sk_psock_destroy` takes away last.
        psock_program = "progs.msg_parser", 8, needed: "whether an enrolment is over";
        psock_refcnt = "refcnt", 4, needed: "whether a redirect is under way";
        /// A list head: redirected bytes.
        psock_ingress_msg = "ingress_msg", 16, needed: "redirected bytes";
        psock_ingress_skb_len = "ingress_skb.qlen", 4, needed: "packets on their way to the reader";
    }
    sk_msg {
        /// A list head: its place in `ingress_msg`.
        msg_list = "list", 16, needed: "redirected bytes";
        /// Bytes that are not read yet.
        msg_size = "sg.size", 4, needed: "redirected bytes";
    }
    proto {
        /// Where the protocol notes that its memory is short.
        proto_memory_pressure = "memory_pressure", 8, unknown: "whether memory for TCP is short";
    }
    mem_cgroup {
        /// A limit for TCP has been set.
        memcg_tcp_active = "tcpmem_active", 1, unknown: "how much memory a cgroup has left";
        /// A `struct page_counter`: memory for TCP.
        memcg_tcp = "tcpmem", 0, unknown: "how much memory a cgroup has left";
    }
    page_counter {
        /// In pages.
        counter_usage = "usage", 8, unknown: "how much memory a cgroup has left";
        /// In pages.
        counter_max = "max", 8, unknown: "how much memory a cgroup has left";
        counter_parent = "parent", 8, unknown: "how much memory a cgroup has left";
    }
    io_kiocb {
        /// The operation of a request.
        request_operation = "opcode", 1, unknown: "programs that use io_uring for files only";
        /// Its lowest bits are those of its entry.
        request_flags = "flags", 0, unknown: "programs that use io_uring for files only";
        /// Its descriptor, before it is complete.
        request_fd = "cqe.fd", 4, unknown: "programs that use io_uring for files only";
        /// Its ring.
        request_ring = "ctx", 8, unknown: "programs that register files with io_uring";
    }
    io_ring_ctx {
        /// An array of pointers to registered files, since 6.13.
        ring_files = "file_table.data.nodes", 8, unknown: "programs that register files with io_uring";
    }
    io_rsrc_node {
        /// The file, and flags in the lowest bits.
        node_file = "file_ptr", 8, unknown: "programs that register files with io_uring";
    }
    sk_buff {
        skb_sk = "sk", 8, needed: "what of a packet is new";
    }
}

/// Says how far the charging of sockets' memory to cgroups can be read.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub enum Charging {
    /// Nothing can be refused: this kernel has no memory cgroups, or none of
    /// version 1, whose limit alone is hard.
    #[default]
    Free = 0,
    /// All counters can be read.
    Counted = 1,
    /// A socket tells that it is charged, but not how much is left.
    Hidden = 2,
    /// Not even that, and version 1 is in use.
    Unknown = 3,
}

impl KernelLayout {
    /// A field that this kernel does not have, and that can be done without.
    pub const MISSING: u32 = i32::MAX as u32;
    /// All zero: what the object holds before the agent has filled it in.
    pub const UNKNOWN: Self = super::zeroed();

    /// Returns the number at `at` bytes from the beginning; 0 behind the end.
    #[must_use]
    pub fn word(&self, at: usize) -> u32 {
        match self.as_bytes().get(at..) {
            Some([a, b, c, d, ..]) if at.is_multiple_of(align_of::<u32>()) => {
                u32::from_ne_bytes([*a, *b, *c, *d])
            }
            _ => 0,
        }
    }
}

/// Stands in the object for a call of the kernel's `bpf_rdonly_cast`. Only the
/// running kernel tells the number of that function.
///
/// The agent replaces it. Until then it is `BPF_CALL` of a function of the
/// kernel (`BPF_PSEUDO_KFUNC_CALL`), with a number that is no function's.
pub const CAST: u64 = call(CAST_MARK);

/// The same for a call of `bpf_sock_destroy`.
pub const DESTROY: u64 = call(CAST_MARK + 1);

const fn call(mark: u32) -> u64 {
    if cfg!(target_endian = "little") {
        (mark as u64) << 32 | 0x2085
    } else {
        0x8502 << 48 | mark as u64
    }
}

/// Stands in the object for a number of the layout, in an instruction that sets
/// a register: this plus the place of the number in [`KernelLayout`].
///
/// The number is then in the program itself, and takes no load.
pub const OFFSET: u32 = 0x7376_0000;

/// The number in [`CAST`].
const CAST_MARK: u32 = 0x7376_6361;
