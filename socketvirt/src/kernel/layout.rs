//! The running kernel's [`KernelLayout`], from its BTF and its symbols.

use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_getres},
};
use socketvirt_common::record::{
    layout::{Calls, KernelLayout},
    line::Without,
};

use super::{btf::KernelTypes, cast, charges, known::Known, symbols};
use crate::host::namespaces;
pub use crate::kernel::btf::LayoutError;

const POINTER: usize = 8;

/// Fills the layout that the agent writes into the programs' read-only data.
///
/// # Errors
/// Names the structure and the field that this kernel does not have, or has in
/// another size than the programs read.
pub fn kernel_layout() -> Result<KernelLayout, LayoutError> {
    resolve(&KernelTypes::running()?)
}

fn resolve(types: &KernelTypes) -> Result<KernelLayout, LayoutError> {
    let mut layout = KernelLayout::UNKNOWN;
    let mut known = Known::new(types);
    for line in KernelLayout::TABLE {
        *(line.place)(&mut layout) = match line.without {
            Without::Refused(purpose) => known.offset(line, purpose)?,
            Without::Unknown(_) | Without::Elsewhere => {
                known.offset(line, "").unwrap_or(KernelLayout::MISSING)
            }
        };
    }
    inode(&mut known, &mut layout)?;
    file(&mut known, &mut layout)?;
    packet(&mut known, &mut layout)?;
    flags_of_tcp(&mut known, &mut layout)?;
    call(&mut known, &mut layout);
    charges::resolve(&mut layout);
    cast::resolve(types, &mut layout);
    cast::resolve_reset(types, &mut layout);
    [layout.ep_poll_callback, layout.pollwake] =
        symbols::addresses(["ep_poll_callback", "pollwake"]);
    // 0, which no namespace has, where `/proc` does not tell.
    layout.own_pidns = namespaces::own_pids().unwrap_or(0);
    layout.tick = tick();
    layout.sk_flags_zerocopy = flags(types, &ZERO_COPY)?;
    layout.sk_flags_timestamp = flags(types, &TIMESTAMP)?;
    Ok(layout)
}

/// Fills the offsets from a `struct socket` into the inode beside it.
fn inode(known: &mut Known<'_>, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let purpose = "whether a socket is mapped";
    let both = known.structure("socket_alloc", purpose)?;
    let inode_at = both.offset_of("vfs_inode", purpose)? - both.offset_of("socket", purpose)?;
    let space = known.structure("address_space", purpose)?;
    let root = space.offset("i_mmap.rb_root.rb_node", POINTER, purpose)?;
    let inode = known.structure("inode", purpose)?;
    layout.socket_mappings = inode_at + inode.offset_of("i_data", purpose)? + root;
    let purpose = "whose a socket is, for the policy";
    layout.socket_gid = inode_at + inode.offset("i_gid", 4, purpose)?;
    Ok(())
}

/// Fills the fields of a file that kernels have in one of two places.
fn file(known: &mut Known<'_>, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let purpose = "who wants signals";
    let file = known.structure("file", purpose)?;
    // A structure of its own since 6.12 (1934b212615d), inside before.
    layout.file_owner = file
        .offset("f_owner", POINTER, purpose)
        .or_else(|_| file.offset("f_owner.pid", POINTER, purpose))?;
    let purpose = "whether a call has begun";
    // `file_ref_get` counts from 0 (`file_ref_init`, include/linux/file_ref.h).
    (layout.file_refs, layout.file_refs_one) = match file.offset("f_ref.refcnt", 8, purpose) {
        Ok(offset) => (offset, 0),
        Err(_) => (file.offset("f_count", 8, purpose)?, 1),
    };
    Ok(())
}

/// Fills the offsets of what TCP has in a packet's `cb`.
fn packet(known: &mut Known<'_>, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let purpose = "what of a packet is new";
    let of_tcp = known
        .structure("sk_buff", purpose)?
        .offset_of("cb", purpose)?;
    let tcp = known.structure("tcp_skb_cb", purpose)?;
    layout.skb_seq = of_tcp + tcp.offset("seq", 4, purpose)?;
    layout.skb_end_seq = of_tcp + tcp.offset("end_seq", 4, purpose)?;
    Ok(())
}

/// Fills the flags of a `struct tcp_sock`.
fn flags_of_tcp(known: &mut Known<'_>, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let tcp = known.structure("tcp_sock", "TCP_INQ")?;
    let inq = tcp.flag("recvmsg_inq", "TCP_INQ")?;
    (layout.recvmsg_inq_byte, layout.recvmsg_inq_mask) = (inq.byte, inq.mask);
    // Only with CONFIG_MPTCP; without it no socket is a subflow.
    if let Some(mptcp) = tcp.optional_flag("is_mptcp")? {
        (layout.is_mptcp_byte, layout.is_mptcp_mask) = (mptcp.byte, mptcp.mask);
    }
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

/// The system call that a program is in. Without its offset nothing is known of
/// the flags of a send, which is no reason to refuse a kernel, nor of splice(2),
/// unless TCP's own function can be watched.
fn call(known: &mut Known<'_>, layout: &mut KernelLayout) {
    let purpose = "which call a program is in";
    let Ok(regs) = known.structure("pt_regs", purpose) else {
        return;
    };
    let offsets = if cfg!(target_arch = "x86_64") {
        ["orig_ax", "dx", "r10"].map(|name| regs.offset(name, POINTER, purpose).ok())
    } else if cfg!(target_arch = "aarch64") {
        let argument = |index: u32| Some(regs.offset_of("regs", purpose).ok()? + index * 8);
        // Four bytes, with those of `sdei_ttbr1` or `pmr` beside them.
        let number = regs.offset("syscallno", 4, purpose).ok();
        [number, argument(2), argument(3)]
    } else {
        [None; 3]
    };
    if let [Some(number), Some(third), Some(fourth)] = offsets {
        layout.call_number = number;
        layout.call_third = third;
        layout.call_fourth = fourth;
        layout.calls = Calls {
            sendto: number_of(libc::SYS_sendto),
            sendmsg: number_of(libc::SYS_sendmsg),
            sendmmsg: number_of(libc::SYS_sendmmsg),
            recvfrom: number_of(libc::SYS_recvfrom),
            recvmsg: number_of(libc::SYS_recvmsg),
            recvmmsg: number_of(libc::SYS_recvmmsg),
            splice: number_of(libc::SYS_splice),
            write: number_of(libc::SYS_write),
            writev: number_of(libc::SYS_writev),
            ioctl: number_of(libc::SYS_ioctl),
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
    use socketvirt_common::record::layout::Charging;

    use super::*;

    #[test]
    fn both_ways_of_reading_give_the_same_layout() {
        let parsed = resolve(&KernelTypes::running_with(Backend::Cache)).unwrap();
        assert_eq!(kernel_layout().unwrap(), parsed);
    }

    /// No 64-bit kernel since 4.x has changed these.
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

    #[test]
    fn this_kernel_tells_whether_memory_is_short() {
        let layout = kernel_layout().unwrap();
        assert!(layout.proto_memory_pressure < 1024, "{layout:?}");
        assert!(layout.sk_prot < 136 && layout.cpus > 0, "{layout:?}");
        // Every supported kernel that has memory cgroups tells all of it.
        let hidden = [Charging::Hidden, Charging::Unknown];
        assert!(!hidden.contains(&layout.charging), "{layout:?}");
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
            (l.sk_userlocks, 1),
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
