//! The options of a socket, from its copy.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use socketvirt_common::record::{
    fields::flag,
    options::{SocketOptions, UNKNOWN},
    row::{Family, Protocol},
    text::Text,
};

use super::snapshot::{Snapshot, at};
use crate::{maps::FIELDS, scratch::Identity};

/// A bit of `sk_flags`.
macro_rules! socket_flag {
    ($flags:expr, $flag:ident) => {{
        // SAFETY: a field of a static.
        let mask = unsafe { core::ptr::read_volatile(&raw const FIELDS.flags[flag::$flag]) };
        $flags & mask != 0
    }};
}
pub(super) use socket_flag;

/// Filling from a copy.
pub trait Fill {
    /// Fills all of them.
    fn fill(&mut self, copy: &Snapshot, identity: &Identity, flags: u64);
}

impl Fill for SocketOptions {
    #[inline(always)]
    fn fill(&mut self, copy: &Snapshot, identity: &Identity, flags: u64) {
        self.so_reuseaddr = copy.byte(at!(reuse));
        self.so_reuseport = copy.byte(at!(reuseport));
        self.so_keepalive = i32::from(socket_flag!(flags, KEEPOPEN));
        self.so_broadcast = i32::from(socket_flag!(flags, BROADCAST));
        self.so_oobinline = i32::from(socket_flag!(flags, URGINLINE));
        self.so_dontroute = i32::from(socket_flag!(flags, LOCALROUTE));
        self.so_timestamp = i32::from(socket_flag!(flags, RCVTSTAMP));
        self.so_zerocopy = i32::from(socket_flag!(flags, ZEROCOPY));
        self.so_linger = if socket_flag!(flags, LINGER) {
            (copy.get::<u64>(at!(lingertime)) / hertz()) as i32
        } else {
            -1
        };
        self.so_priority = copy.word(at!(priority));
        self.so_mark = copy.word(at!(mark));
        self.so_bindtoifindex = copy.word(at!(bound_dev_if));
        self.so_sndbuf = copy.word(at!(sndbuf));
        self.so_rcvbuf = copy.word(at!(rcvbuf));
        self.so_rcvlowat = copy.word(at!(rcvlowat));
        self.so_rcvtimeo = milliseconds(copy.get(at!(rcvtimeo)));
        self.so_sndtimeo = milliseconds(copy.get(at!(sndtimeo)));
        self.so_peek_off = copy.word(at!(peek_off));
        self.so_busy_poll = copy.word(at!(ll_usec));
        let unix = matches!(identity.family, Family::UNIX);
        self.so_passcred = if unix {
            copy.byte(at!(scm_credentials))
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
        self.ip_tos = copy.byte(at!(tos));
        self.ip_ttl = i32::from(copy.get::<i16>(at!(uc_ttl)));
        self.ip_mtu_discover = copy.byte(at!(pmtudisc));
        self.ip_freebind = copy.byte(at!(inet_freebind));
        self.ip_transparent = copy.byte(at!(inet_transparent));
        self.ip_recverr = copy.byte(at!(inet_recverr));
        self.ip_bind_address_no_port = copy.byte(at!(inet_no_port));
        self.ipv6_v6only = if matches!(identity.family, Family::INET6) {
            copy.byte(at!(ipv6only))
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
        let nagle = copy.byte(at!(nonagle));
        self.tcp_nodelay = i32::from(nagle & OFF != 0);
        self.tcp_cork = i32::from(nagle & CORK != 0);
        self.tcp_keepidle = seconds(copy.get::<u32>(at!(keepalive_time)));
        self.tcp_keepintvl = seconds(copy.get::<u32>(at!(keepalive_intvl)));
        self.tcp_keepcnt = copy.byte(at!(keepalive_probes));
        self.tcp_user_timeout = copy.word(at!(user_timeout));
        self.tcp_defer_accept = copy.byte(at!(defer_accept));
        self.tcp_syncnt = copy.byte(at!(syn_retries));
        let linger2: i32 = copy.get(at!(linger2));
        self.tcp_linger2 = if linger2 < 0 {
            -1
        } else {
            seconds(linger2 as u32)
        };
        self.tcp_notsent_lowat = copy.word(at!(notsent_lowat));
        self.tcp_maxseg = copy.word(at!(mss_cache));
        self.tcp_fastopen = copy.word(at!(fastopen));
        self.tcp_inq = copy.byte(at!(recvmsg_inq));
        name(
            &mut self.tcp_congestion,
            copy.get(at!(ca_ops)),
            at!(ca_name).offset,
        );
        name(
            &mut self.tcp_ulp,
            copy.get(at!(ulp_ops)),
            at!(ulp_name).offset,
        );
    }
}

/// Returns the name in a structure of operations; empty without one.
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
    let hertz = unsafe { core::ptr::read_volatile(&raw const FIELDS.hertz) };
    if hertz == 0 { 1 } else { u64::from(hertz) }
}

#[inline(always)]
fn seconds(jiffies: u32) -> i32 {
    (u64::from(jiffies) / hertz()) as i32
}

/// Converts a time-out. `MAX_SCHEDULE_TIMEOUT` is for ever, which getsockopt(2)
/// shows as 0.
#[inline(always)]
fn milliseconds(jiffies: u64) -> i32 {
    if jiffies >= i64::MAX as u64 {
        return 0;
    }
    (jiffies * 1000 / hertz()) as i32
}
