//! The running kernel's [`KernelLayout`], from its BTF and its symbols.

use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_getres},
};
use socketvirt_common::{record::layout::KernelLayout, rule::call::Calls};

use super::{btf::KernelTypes, cast, charges, symbols};
use crate::host::namespaces;
pub use crate::kernel::btf::LayoutError;

const REBUILD: &str = "use another kernel, or a socketvirt that knows this one";

const LIST_HEAD: usize = 16;
const POINTER: usize = 8;

/// Fills the layout that the loader writes into the programs' read-only data.
///
/// # Errors
/// Names the structure and the field that this kernel does not have, or has in
/// another size than the programs read.
pub fn kernel_layout() -> Result<KernelLayout, LayoutError> {
    resolve(&KernelTypes::running()?)
}

fn resolve(types: &KernelTypes) -> Result<KernelLayout, LayoutError> {
    let mut layout = KernelLayout::UNKNOWN;
    socket(types, &mut layout)?;
    tcp(types, &mut layout)?;
    waiters(types, &mut layout)?;
    psock(types, &mut layout)?;
    holders(types, &mut layout)?;
    charges::resolve(types, &mut layout)?;
    call(types, &mut layout);
    cast::resolve(types, &mut layout);
    layout.tick = tick();
    layout.sk_flags_zerocopy = flags(types, &ZERO_COPY)?;
    layout.sk_flags_timestamp = flags(types, &TIMESTAMP)?;
    Ok(layout)
}

fn socket(types: &KernelTypes, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let common = types.structure("sock_common", "a socket's identity", REBUILD)?;
    let sock = types.structure("sock", "a socket's state", REBUILD)?;
    // `struct sock` begins with `struct sock_common`; its place is asked all
    // the same, so that nothing here rests on the order of members.
    let within = sock.offset_of("__sk_common", "a socket's identity")?;

    layout.sk_cookie = within + common.offset("skc_cookie", 8, "the socket's unique id")?;
    layout.sk_num = within + common.offset("skc_num", 2, "the port of a service")?;
    layout.sk_dport = within + common.offset("skc_dport", 2, "the port of a service")?;
    layout.sk_rxhash = within + common.offset("skc_rxhash", 4, "which packets are whose")?;
    layout.sk_state = within + common.offset("skc_state", 1, "the TCP state")?;
    layout.sk_flags = within + common.offset("skc_flags", 8, "socket options")?;
    let purpose = "whom a client asks";
    layout.request_listener = common.offset("skc_listener", POINTER, purpose)?;
    layout.ops_sk = types
        .structure("bpf_sock_ops_kern", purpose, REBUILD)?
        .offset("sk", POINTER, purpose)?;
    layout.sk_rmem_alloc = sock.offset(
        "sk_backlog.rmem_alloc",
        4,
        "how full the receiver's queue is",
    )?;
    layout.sk_rcvbuf = sock.offset("sk_rcvbuf", 4, "the limit of the receiver's queue")?;
    layout.sk_receive_queue_len =
        sock.offset("sk_receive_queue.qlen", 4, "whether packets are unread")?;
    layout.sk_receive_queue_first =
        sock.offset("sk_receive_queue.next", POINTER, "which packets are unread")?;
    layout.sk_lock_waiters = sock.offset(
        "sk_lock.wq.head",
        LIST_HEAD,
        "who waits for a socket's lock",
    )?;
    layout.sk_rcvlowat = sock.offset("sk_rcvlowat", 4, "SO_RCVLOWAT")?;
    layout.sk_err = sock.offset("sk_err", 4, "how a connection ended")?;
    layout.sk_shutdown = sock.offset("sk_shutdown", 1, "whether the socket was shut down")?;
    layout.sk_peek_off = sock.offset("sk_peek_off", 4, "SO_PEEK_OFF")?;
    layout.sk_user_data = sock.offset("sk_user_data", POINTER, "who else owns the socket")?;
    layout.sk_socket = sock.offset("sk_socket", POINTER, "whether the socket is in use")?;
    layout.sk_bpf_storage = sock.offset("sk_bpf_storage", POINTER, "which sockets are followed")?;
    layout.sk_txhash = sock.offset("sk_txhash", 4, "which packets are whose")?;
    layout.sk_filter = sock.offset("sk_filter", POINTER, "socket filters")?;
    layout.sk_max_pacing_rate = sock.offset("sk_max_pacing_rate", POINTER, "SO_MAX_PACING_RATE")?;
    layout.sk_cgroup = sock.offset("sk_cgrp_data.cgroup", POINTER, "a socket's cgroup")?;
    layout.sk_wq = sock.offset("sk_wq", POINTER, "who waits on the socket")?;

    let socket = types.structure("socket", "a socket's file", REBUILD)?;
    layout.socket_file = socket.offset("file", POINTER, "a socket's file")?;
    let cgroup = types.structure("cgroup", "a socket's cgroup", REBUILD)?;
    layout.cgroup_kn = cgroup.offset("kn", POINTER, "a socket's cgroup")?;
    layout.cgroup_parent = cgroup.offset("self.parent", POINTER, "a socket's cgroup")?;
    let node = types.structure("kernfs_node", "a cgroup's id", REBUILD)?;
    layout.kn_id = node.offset("id", 8, "a cgroup's id")?;
    let file = types.structure("file", "O_NONBLOCK", REBUILD)?;
    let task = types.structure("task_struct", "a program's cgroup", REBUILD)?;
    layout.task_cgroups = task.offset("cgroups", POINTER, "a program's cgroup")?;
    let set = types.structure("css_set", "a program's cgroup", REBUILD)?;
    layout.css_set_cgroup = set.offset("dfl_cgrp", POINTER, "a program's cgroup")?;
    layout.socket_sk = socket.offset("sk", POINTER, "who splices")?;
    layout.socket_mappings = mappings(types)?;
    layout.socket_flags = socket.offset("flags", POINTER, "who waits for room to send")?;
    // A structure of its own since 6.12 (1934b212615d), inside before.
    layout.file_owner = file
        .offset("f_owner", POINTER, "who wants signals")
        .or_else(|_| file.offset("f_owner.pid", POINTER, "who wants signals"))?;
    let purpose = "whether a call has begun";
    // `file_ref_get` counts from 0 (`file_ref_init`, include/linux/file_ref.h).
    (layout.file_refs, layout.file_refs_one) = match file.offset("f_ref.refcnt", 8, purpose) {
        Ok(offset) => (offset, 0),
        Err(_) => (file.offset("f_count", 8, purpose)?, 1),
    };
    layout.file_flags = file.offset("f_flags", 4, "O_NONBLOCK")?;
    Ok(())
}

/// Who holds a socket, who reads it, and in which namespace it is.
fn holders(types: &KernelTypes, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let purpose = "a socket's network namespace";
    let common = types.structure("sock_common", purpose, REBUILD)?;
    layout.sk_net = common.offset_of("skc_net", purpose)?;
    layout.net_inum = types
        .structure("net", purpose, REBUILD)?
        .offset("ns.inum", 4, purpose)?;

    let purpose = "who holds a socket";
    let file = types.structure("file", purpose, REBUILD)?;
    layout.file_private = file.offset("private_data", POINTER, purpose)?;
    layout.file_inode = file.offset("f_inode", POINTER, purpose)?;
    let inode = types.structure("inode", purpose, REBUILD)?;
    layout.inode_mode = inode.offset("i_mode", 2, purpose)?;
    let files = types.structure("files_struct", purpose, REBUILD)?;
    layout.files_table = files.offset("fdt", POINTER, purpose)?;
    let table = types.structure("fdtable", purpose, REBUILD)?;
    layout.table_size = table.offset("max_fds", 4, purpose)?;
    layout.table_files = table.offset("fd", POINTER, purpose)?;
    layout.table_open = table.offset("open_fds", POINTER, purpose)?;

    let purpose = "who reads a socket";
    let task = types.structure("task_struct", purpose, REBUILD)?;
    layout.task_leader = task.offset("group_leader", POINTER, purpose)?;
    layout.task_number = task.offset("tgid", 4, purpose)?;
    layout.task_start = task.offset("start_boottime", 8, purpose)?;
    layout.task_pid = task.offset("thread_pid", POINTER, purpose)?;
    layout.task_mm = task.offset("mm", POINTER, purpose)?;
    layout.task_files = task.offset("files", POINTER, purpose)?;
    let memory = types.structure("mm_struct", purpose, REBUILD)?;
    layout.mm_code = memory.offset("exec_vm", 8, purpose)?;
    let pid = types.structure("pid", purpose, REBUILD)?;
    layout.pid_level = pid.offset("level", 4, purpose)?;
    layout.pid_numbers = pid.offset_of("numbers", purpose)?;
    layout.pidns_inum = types
        .structure("pid_namespace", purpose, REBUILD)?
        .offset("ns.inum", 4, purpose)?;
    // 0, which no namespace has, where `/proc` does not tell.
    layout.own_pidns = namespaces::own_pids().unwrap_or(0);
    Ok(())
}

/// From `struct socket` to the root of the tree of its inode's mappings.
fn mappings(types: &KernelTypes) -> Result<u32, LayoutError> {
    let purpose = "whether a socket is mapped";
    let both = types.structure("socket_alloc", purpose, REBUILD)?;
    let inode = types.structure("inode", purpose, REBUILD)?;
    let space = types.structure("address_space", purpose, REBUILD)?;
    let inode_at = both.offset_of("vfs_inode", purpose)? - both.offset_of("socket", purpose)?;
    Ok(inode_at
        + inode.offset_of("i_data", purpose)?
        + space.offset("i_mmap.rb_root.rb_node", POINTER, purpose)?)
}

fn tcp(types: &KernelTypes, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let tcp = types.structure("tcp_sock", "a connection's sequence numbers", REBUILD)?;
    let connection = types.structure("inet_connection_sock", "whether kTLS is on", REBUILD)?;

    layout.icsk_ulp_ops = tcp.offset_of("inet_conn", "whether kTLS is on")?
        + connection.offset("icsk_ulp_ops", POINTER, "whether kTLS is on")?;
    layout.write_seq = tcp.offset("write_seq", 4, "how much was given to the stack")?;
    layout.copied_seq = tcp.offset("copied_seq", 4, "how much the receiver has read")?;
    layout.rcv_nxt = tcp.offset("rcv_nxt", 4, "how much has arrived")?;
    layout.snd_una = tcp.offset("snd_una", 4, "how much is acknowledged")?;
    layout.notsent_lowat = tcp.offset("notsent_lowat", 4, "who waits for room to send")?;
    layout.urg_data = tcp.offset("urg_data", 2, "whether urgent data waits")?;
    layout.urg_seq = tcp.offset("urg_seq", 4, "whether urgent data has come")?;
    layout.bytes_acked = tcp.offset("bytes_acked", 8, "where the connection began")?;
    layout.bytes_received = tcp.offset("bytes_received", 8, "where the connection began")?;
    layout.bytes_sent = tcp.offset("bytes_sent", 8, "bytes sent by the stack")?;
    layout.bytes_retrans = tcp.offset("bytes_retrans", 8, "bytes sent again")?;
    layout.data_segs_out = tcp.offset("data_segs_out", 4, "segments sent by the stack")?;

    let inq = tcp.flag("recvmsg_inq", "TCP_INQ")?;
    (layout.recvmsg_inq_byte, layout.recvmsg_inq_mask) = (inq.byte, inq.mask);
    // Only with CONFIG_MPTCP; without it no socket is a subflow.
    if let Some(mptcp) = tcp.optional_flag("is_mptcp")? {
        (layout.is_mptcp_byte, layout.is_mptcp_mask) = (mptcp.byte, mptcp.mask);
    }
    Ok(())
}

fn waiters(types: &KernelTypes, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let purpose = "who waits on a socket";
    let queue = types.structure("socket_wq", purpose, REBUILD)?;
    layout.wq_head = queue.offset("wait.head", LIST_HEAD, purpose)?;
    let entry = types.structure("wait_queue_entry", purpose, REBUILD)?;
    layout.wait_func = entry.offset("func", POINTER, purpose)?;
    layout.wait_entry = entry.offset("entry", LIST_HEAD, purpose)?;
    [layout.ep_poll_callback, layout.pollwake] =
        symbols::addresses(["ep_poll_callback", "pollwake"]);
    Ok(())
}

fn psock(types: &KernelTypes, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let psock = types.structure(
        "sk_psock",
        "redirected bytes",
        "use a kernel with CONFIG_BPF_STREAM_PARSER=y, which has socket maps",
    )?;
    layout.psock_sk = psock.offset("sk", POINTER, "whether an enrolment is over")?;
    layout.psock_program =
        psock.offset("progs.msg_parser", POINTER, "whether an enrolment is over")?;
    layout.psock_refcnt = psock.offset("refcnt", 4, "whether a redirect is under way")?;
    layout.psock_ingress_msg = psock.offset("ingress_msg", LIST_HEAD, "redirected bytes")?;
    let message = types.structure("sk_msg", "redirected bytes", REBUILD)?;
    layout.msg_list = message.offset("list", LIST_HEAD, "redirected bytes")?;
    layout.msg_size = message.offset("sg.size", 4, "redirected bytes")?;
    let purpose = "what of a packet is new";
    let buffer = types.structure("sk_buff", purpose, REBUILD)?;
    layout.skb_sk = buffer.offset("sk", POINTER, purpose)?;
    let packet = buffer.offset_of("cb", purpose)?;
    let tcp = types.structure("tcp_skb_cb", purpose, REBUILD)?;
    layout.skb_seq = packet + tcp.offset("seq", 4, purpose)?;
    layout.skb_end_seq = packet + tcp.offset("end_seq", 4, purpose)?;
    layout.psock_ingress_skb_len =
        psock.offset("ingress_skb.qlen", 4, "packets on their way to the reader")?;
    Ok(())
}

/// Nanoseconds of a tick: the step of the clocks that each tick sets
/// (`KTIME_LOW_RES`, kernel/time/posix-timers.c).
fn tick() -> u32 {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .ok()
        .and_then(|step| u32::try_from(step.num_nanoseconds()).ok())
        // At most 100 in a second: what is counted in them comes sooner.
        .unwrap_or(10_000_000)
}

/// The system call that a program is in. Without its place nothing is known of
/// the flags of a send, which is no reason to refuse a kernel, nor of splice(2),
/// unless TCP's own function can be watched.
fn call(types: &KernelTypes, layout: &mut KernelLayout) {
    let purpose = "which call a program is in";
    let Ok(regs) = types.structure("pt_regs", purpose, REBUILD) else {
        return;
    };
    let places = if cfg!(target_arch = "x86_64") {
        ["orig_ax", "dx", "r10"].map(|name| regs.offset(name, POINTER, purpose).ok())
    } else if cfg!(target_arch = "aarch64") {
        let argument = |index: u32| Some(regs.offset_of("regs", purpose).ok()? + index * 8);
        // Four bytes, with those of `sdei_ttbr1` or `pmr` beside them.
        let number = regs.offset("syscallno", 4, purpose).ok();
        [number, argument(2), argument(3)]
    } else {
        [None; 3]
    };
    if let [Some(number), Some(third), Some(fourth)] = places {
        layout.call_number = number;
        layout.call_third = third;
        layout.call_fourth = fourth;
        layout.calls = Calls {
            sendto: number_of(libc::SYS_sendto),
            sendmsg: number_of(libc::SYS_sendmsg),
            sendmmsg: number_of(libc::SYS_sendmmsg),
            splice: number_of(libc::SYS_splice),
        };
    }
}

fn number_of(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(0)
}

/// A constant of `enum sock_flags`: its name, what it tells, and whether every
/// supported kernel has it.
struct SocketFlag(&'static str, &'static str, Need);

#[derive(PartialEq)]
enum Need {
    Always,
    /// Newer kernels only, where it covers what an older one keeps elsewhere.
    WhereKnown,
}

const ZERO_COPY: [SocketFlag; 1] = [SocketFlag("SOCK_ZEROCOPY", "SO_ZEROCOPY", Need::Always)];

const TIMESTAMP: [SocketFlag; 4] = [
    SocketFlag("SOCK_RCVTSTAMP", "SO_TIMESTAMP", Need::Always),
    SocketFlag(
        "SOCK_TIMESTAMPING_RX_SOFTWARE",
        "SO_TIMESTAMPING",
        Need::Always,
    ),
    // Any software or hardware stamp, also of what is sent.
    SocketFlag("SOCK_TIMESTAMPING_ANY", "SO_TIMESTAMPING", Need::WhereKnown),
    SocketFlag("SOCK_URGINLINE", "SO_OOBINLINE", Need::Always),
];

/// The mask of `sk_flags` for these constants, which the kernel numbers anew
/// as it adds some.
fn flags(types: &KernelTypes, wanted: &[SocketFlag]) -> Result<u64, LayoutError> {
    let mut mask = 0;
    for SocketFlag(constant, purpose, need) in wanted {
        match types.constant("sock_flags", constant) {
            Some(bit) => mask |= 1_u64.checked_shl(bit).unwrap_or(0),
            None if *need == Need::WhereKnown => {}
            None => {
                return Err(LayoutError::NoConstant {
                    enumeration: "sock_flags",
                    constant,
                    purpose,
                });
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use btf_rs::Backend;

    use super::*;

    #[test]
    fn both_ways_of_reading_give_the_same_layout() {
        let parsed = resolve(&KernelTypes::running_with(Backend::Cache)).unwrap();
        assert_eq!(kernel_layout().unwrap(), parsed);
    }

    /// What no 64-bit kernel since 4.x has changed.
    #[test]
    fn anchors_that_every_kernel_shares() {
        let layout = kernel_layout().unwrap();
        // Behind addresses, hash, ports and family.
        assert_eq!(layout.sk_state, 18);
        // Behind `flags` and `private`, both padded to a pointer.
        assert_eq!((layout.wait_func, layout.wait_entry), (16, 24));
        // Behind a spin lock of at least 4 bytes.
        assert!(layout.wq_head >= 8);
        // A power of two that is one bit.
        assert_eq!(layout.sk_flags_zerocopy.count_ones(), 1);
        assert!(layout.sk_flags_timestamp.count_ones() >= 3);
        assert_eq!(layout.sk_flags_zerocopy & layout.sk_flags_timestamp, 0);
        assert_eq!(layout.recvmsg_inq_mask.count_ones(), 1);
        // CONFIG_HZ is from 100 to 1000.
        assert!((1_000_000..=10_000_000).contains(&layout.tick));
    }

    /// Fields of one structure lie apart from each other, and `tcp_sock`'s
    /// behind the `sock` that it begins with.
    #[test]
    fn fields_do_not_overlap() {
        let l = kernel_layout().unwrap();
        let sock = [
            (l.sk_state, 1),
            (l.sk_cookie, 8),
            (l.sk_flags, 8),
            (l.sk_rmem_alloc, 4),
            (l.sk_rcvbuf, 4),
            (l.sk_receive_queue_first, 8),
            (l.sk_receive_queue_len, 4),
            (l.sk_lock_waiters, 16),
            (l.sk_rcvlowat, 4),
            (l.sk_err, 4),
            (l.sk_shutdown, 1),
            (l.sk_peek_off, 4),
            (l.sk_user_data, 8),
            (l.sk_socket, 8),
            (l.sk_bpf_storage, 8),
            (l.sk_wq, 8),
            (l.sk_cgroup, 8),
            (l.sk_txhash, 4),
            (l.sk_rxhash, 4),
            (l.sk_prot, 8),
            (l.sk_memcg, 8),
        ];
        let tcp = [
            (l.icsk_ulp_ops, 8),
            (l.write_seq, 4),
            (l.copied_seq, 4),
            (l.rcv_nxt, 4),
            (l.snd_una, 4),
            (l.urg_data, 2),
            (l.urg_seq, 4),
            (l.bytes_acked, 8),
            (l.bytes_received, 8),
            (l.bytes_sent, 8),
            (l.bytes_retrans, 8),
            (l.data_segs_out, 4),
            (l.recvmsg_inq_byte, 1),
        ];
        let psock = [
            (l.psock_sk, 8),
            (l.psock_program, 8),
            (l.psock_refcnt, 4),
            (l.psock_ingress_msg, 16),
            (l.psock_ingress_skb_len, 4),
        ];
        let end = |fields: &[(u32, u32)]| fields.iter().map(|(at, size)| at + size).max().unwrap();
        for mut fields in [[&sock[..], &tcp[..]].concat(), psock.to_vec()] {
            fields.sort_unstable();
            for pair in fields.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?} of {l:#?}");
            }
            for (at, size) in fields {
                assert_eq!(at % size.min(8), 0, "{at} is not aligned to {size}");
            }
        }
        let first = tcp.iter().map(|(at, _)| *at).min().unwrap();
        assert!(end(&sock) <= first);
    }
}
