//! Where the running kernel keeps what the programs read.
//!
//! Rust has no CO-RE. The loader resolves every offset from the kernel's own
//! BTF, and writes this struct into the object's read-only data before the
//! programs are verified. The verifier then sees constants.

use crate::rule::call::Calls;

/// Byte offsets into kernel structures, all from the start of the structure
/// named first in the field's documentation. `struct tcp_sock` begins with
/// `struct sock`, so one address serves both.
///
/// All words are below 2^31, as programs have them in their instructions (see
/// [`OFFSET`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLayout {
    /// `sock_common.skc_cookie` (`atomic64_t`, 8 bytes).
    pub sk_cookie: u32,
    /// `sock_common.skc_num` (2 bytes): the own port, host byte order.
    pub sk_num: u32,
    /// `sock_common.skc_dport` (2 bytes): the other port, network byte order.
    pub sk_dport: u32,
    /// `sock_common.skc_rxhash` (4 bytes): the hash of the packet received
    /// last.
    pub sk_rxhash: u32,
    /// `sock_common.skc_state` (1 byte).
    pub sk_state: u32,
    /// `sock_common.skc_listener` (8 bytes): of a request, whom it asks.
    pub request_listener: u32,
    /// `bpf_sock_ops_kern.sk` (8 bytes): the socket of a callback.
    pub ops_sk: u32,
    /// `sock.sk_rmem_alloc`, that is `sk_backlog.rmem_alloc` (4 bytes): bytes
    /// charged to the receive queues.
    pub sk_rmem_alloc: u32,
    /// `sock.sk_rcvbuf` (4 bytes).
    pub sk_rcvbuf: u32,
    /// `sock.sk_receive_queue.qlen` (4 bytes).
    pub sk_receive_queue_len: u32,
    /// `sock.sk_receive_queue.next` (8 bytes): the first packet.
    pub sk_receive_queue_first: u32,
    /// `sock.sk_lock.wq.head` (list head, 16 bytes): calls that wait for the
    /// socket's lock.
    pub sk_lock_waiters: u32,
    /// `sock.sk_rcvlowat` (4 bytes).
    pub sk_rcvlowat: u32,
    /// `sock.sk_flags` (8 bytes): bits of `enum sock_flags`.
    pub sk_flags: u32,
    /// `sock.sk_err` (4 bytes): the error that waits for the program.
    pub sk_err: u32,
    /// `sock.sk_shutdown` (1 byte).
    pub sk_shutdown: u32,
    /// `sock.sk_peek_off` (4 bytes, signed): `SO_PEEK_OFF`, -1 when unset.
    pub sk_peek_off: u32,
    /// `sock.sk_user_data` (8 bytes): the psock, its two low bits are flags
    /// (`SK_USER_DATA_*`, three from 5.19 on).
    pub sk_user_data: u32,
    /// `sock.sk_socket` (8 bytes): null before accept and after close.
    pub sk_socket: u32,
    /// `sock.sk_bpf_storage` (8 bytes): null while no program keeps anything of
    /// the socket.
    pub sk_bpf_storage: u32,
    /// `sock.sk_wq` (8 bytes): the wait queue of the file.
    pub sk_wq: u32,
    /// `sock.sk_txhash` (4 bytes): the hash that every packet of the socket
    /// carries.
    pub sk_txhash: u32,
    /// `sock.sk_filter` (8 bytes): the socket filter, null without one.
    pub sk_filter: u32,
    /// `sock.sk_max_pacing_rate` (8 bytes): `SO_MAX_PACING_RATE` in bytes a
    /// second, all ones when unset.
    pub sk_max_pacing_rate: u32,
    /// `sock.sk_cgrp_data.cgroup` (8 bytes): the cgroup that the socket was
    /// made in.
    pub sk_cgroup: u32,
    /// `cgroup.kn` (8 bytes).
    pub cgroup_kn: u32,
    /// `cgroup.self.parent` (8 bytes): the state of the cgroup above, which is
    /// at its very beginning.
    pub cgroup_parent: u32,
    /// `kernfs_node.id` (8 bytes): the inode number of the cgroup's folder.
    pub kn_id: u32,
    /// `inet_connection_sock.icsk_ulp_ops` (8 bytes): not null with kTLS.
    pub icsk_ulp_ops: u32,
    /// `tcp_sock.write_seq` (4 bytes).
    pub write_seq: u32,
    /// `tcp_sock.copied_seq` (4 bytes).
    pub copied_seq: u32,
    /// `tcp_sock.rcv_nxt` (4 bytes).
    pub rcv_nxt: u32,
    /// `tcp_sock.snd_una` (4 bytes).
    pub snd_una: u32,
    /// `tcp_sock.urg_data` (2 bytes).
    pub urg_data: u32,
    /// `tcp_sock.urg_seq` (4 bytes): where the urgent data was that came last;
    /// 0 before the first (`tcp_check_urg`, which alone writes it).
    pub urg_seq: u32,
    /// `tcp_sock.bytes_acked` (8 bytes).
    pub bytes_acked: u32,
    /// `tcp_sock.bytes_received` (8 bytes).
    pub bytes_received: u32,
    /// `tcp_sock.bytes_sent` (8 bytes).
    pub bytes_sent: u32,
    /// `tcp_sock.bytes_retrans` (8 bytes).
    pub bytes_retrans: u32,
    /// `tcp_sock.data_segs_out` (4 bytes).
    pub data_segs_out: u32,
    /// The byte of `tcp_sock` that holds the bit `is_mptcp`.
    pub is_mptcp_byte: u32,
    /// The mask of `is_mptcp` in that byte (all bits where it is a `bool`); 0 on
    /// a kernel without MPTCP.
    pub is_mptcp_mask: u32,
    /// The byte of `tcp_sock` that holds the bit `recvmsg_inq` (`TCP_INQ`).
    pub recvmsg_inq_byte: u32,
    /// The mask of `recvmsg_inq` in that byte.
    pub recvmsg_inq_mask: u32,
    /// `socket.file` (8 bytes).
    pub socket_file: u32,
    /// `task_struct.cgroups` (8 bytes): its `css_set`.
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp` (8 bytes): its cgroup of version 2.
    pub css_set_cgroup: u32,
    /// `sock_common.skc_net` (8 bytes): the socket's network namespace.
    pub sk_net: u32,
    /// `net.ns.inum` (4 bytes): its number, as `/proc/<pid>/ns/net` shows it.
    pub net_inum: u32,
    /// `file.private_data` (8 bytes): of a socket's file, its `struct socket`.
    pub file_private: u32,
    /// `file.f_inode` (8 bytes).
    pub file_inode: u32,
    /// `inode.i_mode` (2 bytes).
    pub inode_mode: u32,
    /// `task_struct.group_leader` (8 bytes).
    pub task_leader: u32,
    /// `task_struct.tgid` (4 bytes).
    pub task_number: u32,
    /// `task_struct.start_boottime` (8 bytes): nanoseconds.
    pub task_start: u32,
    /// `task_struct.thread_pid` (8 bytes): a `struct pid`.
    pub task_pid: u32,
    /// `task_struct.mm` (8 bytes): null in a thread of the kernel.
    pub task_mm: u32,
    /// `task_struct.files` (8 bytes).
    pub task_files: u32,
    /// `files_struct.fdt` (8 bytes).
    pub files_table: u32,
    /// `fdtable.max_fds` (4 bytes).
    pub table_size: u32,
    /// `fdtable.fd` (8 bytes): an array of pointers to files.
    pub table_files: u32,
    /// `fdtable.open_fds` (8 bytes): which of them are open, as bits.
    pub table_open: u32,
    /// `mm_struct.exec_vm` (8 bytes): pages that are mapped as code.
    pub mm_code: u32,
    /// `pid.level` (4 bytes): how deep its pid namespace is.
    pub pid_level: u32,
    /// `pid.numbers`: an array of `struct upid`, from the outermost namespace
    /// inwards. Each has 16 bytes: its number, and 8 bytes later its namespace.
    pub pid_numbers: u32,
    /// `pid_namespace.ns.inum` (4 bytes).
    pub pidns_inum: u32,
    /// The number of the agent's own pid namespace.
    pub own_pidns: u32,
    /// The number of `struct tcp_sock` among the kernel's types, where programs
    /// may cast to it (see [`CAST`]); 0 elsewhere.
    pub tcp_sock_type: u32,
    /// The number of the function `bpf_rdonly_cast` there, for the loader.
    pub cast_function: u32,
    /// Nanoseconds of a tick, in which the kernel counts `jiffies`.
    pub tick: u32,
    /// `socket.sk` (8 bytes).
    pub socket_sk: u32,
    /// The root of the tree of mappings of a socket's inode (8 bytes): null
    /// while there are none. The inode lies behind its `struct socket` in one
    /// `struct socket_alloc`.
    pub socket_mappings: u32,
    /// `socket.flags` (8 bytes).
    pub socket_flags: u32,
    /// `tcp_sock.notsent_lowat` (4 bytes): `TCP_NOTSENT_LOWAT`.
    pub notsent_lowat: u32,
    /// `file.f_flags` (4 bytes).
    pub file_flags: u32,
    /// `file.f_owner` (8 bytes), or `file.f_owner.pid` before 6.12: not null
    /// when a process has asked for signals.
    pub file_owner: u32,
    /// `file.f_ref` (8 bytes), or `file.f_count` before 6.13: who holds the file.
    pub file_refs: u32,
    /// `socket_wq.wait.head` (list head, 16 bytes).
    pub wq_head: u32,
    /// `wait_queue_entry.func` (8 bytes).
    pub wait_func: u32,
    /// `wait_queue_entry.entry` (list head, 16 bytes).
    pub wait_entry: u32,
    /// `sk_psock.sk` (8 bytes): its socket.
    pub psock_sk: u32,
    /// `sk_psock.progs.msg_parser` (8 bytes): its `sk_msg` program, which
    /// `sk_psock_destroy` takes away last.
    pub psock_program: u32,
    /// `sk_psock.refcnt` (4 bytes).
    pub psock_refcnt: u32,
    /// `sk_psock.ingress_msg` (list head, 16 bytes): redirected bytes.
    pub psock_ingress_msg: u32,
    /// `sk_msg.list` (list head, 16 bytes): its place in `ingress_msg`.
    pub msg_list: u32,
    /// `sk_msg.sg.size` (4 bytes): bytes that are not read yet.
    pub msg_size: u32,
    /// `sk_psock.ingress_skb.qlen` (4 bytes).
    pub psock_ingress_skb_len: u32,
    /// `sock_common.skc_prot` (8 bytes).
    pub sk_prot: u32,
    /// `proto.memory_pressure` (8 bytes): where the protocol notes that its
    /// memory is short; [`KernelLayout::MISSING`] when it is not known.
    pub proto_memory_pressure: u32,
    /// Says which of the following fields are there.
    pub charging: Charging,
    /// `sock.sk_memcg` (8 bytes): null when nobody limits the socket's memory.
    pub sk_memcg: u32,
    /// `mem_cgroup.tcpmem_active` (1 byte): a limit for TCP has been set.
    pub memcg_tcp_active: u32,
    /// `mem_cgroup.tcpmem` (a `struct page_counter`): memory for TCP.
    pub memcg_tcp: u32,
    /// `page_counter.usage` (8 bytes), in pages.
    pub counter_usage: u32,
    /// `page_counter.max` (8 bytes), in pages.
    pub counter_max: u32,
    /// `page_counter.parent` (8 bytes).
    pub counter_parent: u32,
    /// Processors that there may be.
    pub cpus: u32,
    /// `sk_buff.cb`, to the `seq` of the `struct tcp_skb_cb` that TCP has in it
    /// (4 bytes): the number of the packet's first byte.
    pub skb_seq: u32,
    /// The same to its `end_seq` (4 bytes): the number after its last one.
    pub skb_end_seq: u32,
    /// `sk_buff.sk` (8 bytes).
    pub skb_sk: u32,
    /// `pt_regs`: the number of the system call that the program is in (8
    /// bytes). It and the two arguments are 0 where they are not known.
    pub call_number: u32,
    /// The third argument (8 bytes).
    pub call_third: u32,
    /// The fourth argument (8 bytes).
    pub call_fourth: u32,
    /// Keeps the size of all these a multiple of 8.
    pub reserved: u32,
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

/// Says how far the charging of sockets' memory to cgroups can be read.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// All zero: what the object holds before the loader has filled it in.
    // SAFETY: integers only, for which zero is a value.
    pub const UNKNOWN: Self = unsafe { core::mem::zeroed() };

    /// Returns the number at `at` bytes from the beginning; 0 behind the end.
    #[must_use]
    pub fn word(&self, at: usize) -> u32 {
        if at.is_multiple_of(align_of::<u32>()) && at + size_of::<u32>() <= size_of::<Self>() {
            // SAFETY: aligned and inside, and all parts are made of numbers
            // without a gap between them.
            unsafe { (&raw const *self).byte_add(at).cast::<u32>().read() }
        } else {
            0
        }
    }
}

// No gap between the words and what is wider.
const _: () = assert!(
    core::mem::offset_of!(KernelLayout, sk_flags_zerocopy)
        == core::mem::offset_of!(KernelLayout, calls) + size_of::<Calls>()
);

/// Stands in the object for a call of the kernel's `bpf_rdonly_cast`. Only the
/// running kernel tells the number of that function.
///
/// The loader replaces it. Until then it is `BPF_CALL` of a function of the
/// kernel (`BPF_PSEUDO_KFUNC_CALL`), with a number that is no function's.
pub const CAST: u64 = if cfg!(target_endian = "little") {
    (CAST_MARK as u64) << 32 | 0x2085
} else {
    0x8502 << 48 | CAST_MARK as u64
};

/// Stands in the object for a number of the layout, in an instruction that sets
/// a register: this plus the place of the number in [`KernelLayout`].
///
/// The number is then in the program itself, and takes no load.
pub const OFFSET: u32 = 0x7376_0000;

/// The number in [`CAST`].
const CAST_MARK: u32 = 0x7376_6361;
