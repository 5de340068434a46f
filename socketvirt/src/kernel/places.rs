//! The running kernel's [`Places`]: where it keeps what the rows of the socket
//! table show.

use nix::time::{ClockId, clock_getres};
use socketvirt_common::record::places::{Place, Places, flag};

use crate::kernel::btf::{KernelTypes, LayoutError};

/// Without these a row has no identity.
const NEEDED: &str = "a row's identity";

/// Fills the places that the loader writes into the programs' read-only data.
///
/// # Errors
/// Names the structure or the field without which there are no rows. A field
/// that only one column shows may be missing; the column is unknown then.
pub fn places() -> Result<Places, LayoutError> {
    resolve(&KernelTypes::running()?)
}

fn resolve(types: &KernelTypes) -> Result<Places, LayoutError> {
    let mut places = Places::UNKNOWN;
    common(types, &mut places)?;
    sock(types, &mut places)?;
    inet(types, &mut places)?;
    tcp(types, &mut places)?;
    others(types, &mut places)?;
    around(types, &mut places)?;
    for (mask, name) in places.flags.iter_mut().zip(flag::NAMES) {
        *mask = types
            .constant("sock_flags", name)
            .and_then(|bit| 1_u64.checked_shl(bit))
            .unwrap_or(0);
    }
    places.hertz = hertz();
    Ok(places)
}

/// Jiffies in a second: the coarse clocks advance by one at a time.
fn hertz() -> u32 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |tick| tick.tv_nsec());
    u32::try_from(1_000_000_000 / tick.max(1)).unwrap_or(100)
}

/// Fields of one structure, one after another.
macro_rules! fill {
    ($places:ident, $structure:ident, $($name:ident = $field:literal $size:literal),* $(,)?) => {
        $($places.$name = $structure.place_of($field, $size)?;)*
    };
}

fn common(types: &KernelTypes, l: &mut Places) -> Result<(), LayoutError> {
    let s = types.structure("sock_common", NEEDED, "this kernel is not known")?;
    // What makes a row at all.
    for (place, field, size) in [
        (&mut l.family, "skc_family", 2),
        (&mut l.state, "skc_state", 1),
        (&mut l.num, "skc_num", 2),
        (&mut l.cookie, "skc_cookie", 8),
        (&mut l.flags_word, "skc_flags", 8),
    ] {
        *place = Place::at(s.offset(field, size, NEEDED)?);
    }
    fill!(l, s,
        dport = "skc_dport" 2,
        daddr = "skc_daddr" 4,
        rcv_saddr = "skc_rcv_saddr" 4,
        v6_daddr = "skc_v6_daddr" 16,
        v6_rcv_saddr = "skc_v6_rcv_saddr" 16,
        bound_dev_if = "skc_bound_dev_if" 4,
        net = "skc_net.net" 8,
        reuse = "skc_reuse" 0,
        reuseport = "skc_reuseport" 0,
        ipv6only = "skc_ipv6only" 0,
    );
    l.size_common = s.size();
    Ok(())
}

fn sock(types: &KernelTypes, l: &mut Places) -> Result<(), LayoutError> {
    let s = types.structure("sock", NEEDED, "this kernel is not known")?;
    for (place, field, size) in [
        (&mut l.kind, "sk_type", 2),
        (&mut l.protocol, "sk_protocol", 2),
        (&mut l.shutdown, "sk_shutdown", 1),
        (&mut l.socket, "sk_socket", 8),
    ] {
        *place = Place::at(s.offset(field, size, NEEDED)?);
    }
    fill!(l, s,
        error = "sk_err" 4,
        error_queue = "sk_error_queue.qlen" 4,
        receive_queue = "sk_receive_queue.qlen" 4,
        receive_first = "sk_receive_queue.next" 8,
        rmem_alloc = "sk_backlog.rmem_alloc" 4,
        rcvbuf = "sk_rcvbuf" 4,
        sndbuf = "sk_sndbuf" 4,
        wmem_alloc = "sk_wmem_alloc" 4,
        wmem_queued = "sk_wmem_queued" 4,
        ack_backlog = "sk_ack_backlog" 4,
        max_ack_backlog = "sk_max_ack_backlog" 4,
        ino = "sk_ino" 8,
        uid = "sk_uid" 4,
        wq = "sk_wq" 8,
        user_data = "sk_user_data" 8,
        cgroup = "sk_cgrp_data.cgroup" 8,
        rcvlowat = "sk_rcvlowat" 4,
        rcvtimeo = "sk_rcvtimeo" 8,
        sndtimeo = "sk_sndtimeo" 8,
        lingertime = "sk_lingertime" 8,
        priority = "sk_priority" 4,
        mark = "sk_mark" 4,
        peek_off = "sk_peek_off" 4,
        ll_usec = "sk_ll_usec" 4,
        scm_credentials = "sk_scm_credentials" 0,
    );
    Ok(())
}

fn inet(types: &KernelTypes, l: &mut Places) -> Result<(), LayoutError> {
    let s = types.structure("inet_sock", NEEDED, "this kernel has no IP")?;
    let flags = s.place_of("inet_flags", 8)?;
    fill!(l, s, tos = "tos" 1, uc_ttl = "uc_ttl" 2, pmtudisc = "pmtudisc" 0);
    l.inet_flags = flags;
    // Numbered bits from 6.6 on (`INET_FLAGS_*`, an enumeration without a name
    // that has only grown), bit fields before.
    for (place, bit, field) in [
        (&mut l.inet_freebind, 11, "freebind"),
        (&mut l.inet_transparent, 15, "transparent"),
        (&mut l.inet_recverr, 9, "recverr"),
        (&mut l.inet_no_port, 18, "bind_address_no_port"),
    ] {
        *place = if flags.offset == Place::MISSING {
            s.place_of(field, 0)?
        } else {
            Place::bits(flags.offset + byte_of(bit), 1 << (bit % 8))
        };
    }
    Ok(())
}

/// The byte of a `long` that holds a bit.
fn byte_of(bit: u32) -> u32 {
    if cfg!(target_endian = "little") {
        bit / 8
    } else {
        7 - bit / 8
    }
}

fn tcp(types: &KernelTypes, l: &mut Places) -> Result<(), LayoutError> {
    let s = types.structure("inet_connection_sock", NEEDED, "this kernel has no TCP")?;
    fill!(l, s,
        half_open = "icsk_accept_queue.qlen" 4,
        defer_accept = "icsk_accept_queue.rskq_defer_accept" 1,
        fastopen = "icsk_accept_queue.fastopenq.max_qlen" 4,
        user_timeout = "icsk_user_timeout" 4,
        syn_retries = "icsk_syn_retries" 1,
        ca_ops = "icsk_ca_ops" 8,
        ulp_ops = "icsk_ulp_ops" 8,
    );
    let s = types.structure("tcp_sock", NEEDED, "this kernel has no TCP")?;
    fill!(l, s,
        write_seq = "write_seq" 4,
        copied_seq = "copied_seq" 4,
        rcv_nxt = "rcv_nxt" 4,
        snd_nxt = "snd_nxt" 4,
        snd_una = "snd_una" 4,
        urg_data = "urg_data" 2,
        nonagle = "nonagle" 0,
        keepalive_time = "keepalive_time" 4,
        keepalive_intvl = "keepalive_intvl" 4,
        keepalive_probes = "keepalive_probes" 1,
        linger2 = "linger2" 4,
        notsent_lowat = "notsent_lowat" 4,
        mss_cache = "mss_cache" 4,
        recvmsg_inq = "recvmsg_inq" 0,
        bytes_acked = "bytes_acked" 8,
        bytes_received = "bytes_received" 8,
        bytes_sent = "bytes_sent" 8,
        bytes_retrans = "bytes_retrans" 8,
        data_segs_out = "data_segs_out" 4,
    );
    l.size_tcp = s.size();
    let s = types.structure("inet_timewait_sock", NEEDED, "this kernel has no TCP")?;
    l.tw_substate = s.place_of("tw_substate", 1)?;
    let s = types.structure("tcp_congestion_ops", NEEDED, "this kernel has no TCP")?;
    l.ca_name = s.place_of("name", 0)?;
    let s = types.structure("tcp_ulp_ops", NEEDED, "this kernel has no TCP")?;
    l.ulp_name = s.place_of("name", 0)?;
    Ok(())
}

fn others(types: &KernelTypes, l: &mut Places) -> Result<(), LayoutError> {
    let s = types.structure("udp_sock", NEEDED, "this kernel has no UDP")?;
    fill!(l, s, forward_deficit = "forward_deficit" 4, reader_queue = "reader_queue.qlen" 4);
    l.size_udp = s.size();
    let s = types.structure("unix_sock", NEEDED, "this kernel has no Unix sockets")?;
    fill!(l, s, unix_addr = "addr" 8, unix_peer = "peer" 8, unix_inq = "inq_len" 4);
    l.size_unix = s.size();
    let s = types.structure("unix_address", NEEDED, "this kernel has no Unix sockets")?;
    fill!(l, s, unix_address_len = "len" 4, unix_address_name = "name" 0);
    let s = types.structure("sk_buff", NEEDED, "this kernel has no network")?;
    fill!(l, s, skb_len = "len" 4);
    let s = types.structure("sk_psock", NEEDED, "this kernel has no socket maps")?;
    fill!(l, s, psock_redirected = "msg_tot_len" 4);
    Ok(())
}

fn around(types: &KernelTypes, l: &mut Places) -> Result<(), LayoutError> {
    let s = types.structure("socket", NEEDED, "this kernel is not known")?;
    fill!(l, s, socket_file = "file" 8);
    l.socket_sk = Place::at(s.offset("sk", 8, NEEDED)?);
    let s = types.structure("socket_alloc", NEEDED, "this kernel is not known")?;
    fill!(l, s, socket_ino = "vfs_inode.i_ino" 8);
    let s = types.structure("file", NEEDED, "this kernel is not known")?;
    fill!(l, s, file_flags = "f_flags" 4);
    let s = types.structure("net", NEEDED, "this kernel is not known")?;
    fill!(l, s, net_inum = "ns.inum" 4);
    let s = types.structure("cgroup", NEEDED, "this kernel has no cgroups")?;
    fill!(l, s, cgroup_kn = "kn" 8);
    let s = types.structure("kernfs_node", NEEDED, "this kernel has no cgroups")?;
    fill!(l, s, kn_id = "id" 8);
    let s = types.structure("task_struct", NEEDED, "this kernel is not known")?;
    fill!(l, s, task_tgid = "tgid" 4, task_leader = "group_leader" 8, task_comm = "comm" 0,
        task_nsproxy = "nsproxy" 8);
    let s = types.structure("nsproxy", NEEDED, "this kernel has no namespaces")?;
    fill!(l, s, nsproxy_net = "net_ns" 8);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_every_place() {
        let places = places().unwrap();
        assert!(places.size_tcp > places.size_common && places.size_tcp < 4096);
        assert_eq!(places.flags.iter().filter(|mask| **mask == 0).count(), 0);
        assert!(
            [100, 250, 300, 1000].contains(&places.hertz),
            "{}",
            places.hertz
        );
        let shown = format!("{places:?}");
        assert!(!shown.contains(&Place::MISSING.to_string()), "{shown}");
    }
}
