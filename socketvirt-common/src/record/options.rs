//! The options of a socket, by their names.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::text::Text;

/// The value of an option that this kernel keeps elsewhere, or that this kind
/// of socket does not have.
pub const UNKNOWN: i32 = i32::MIN;

/// The options in force, as getsockopt(2) would give them; [`UNKNOWN`] for
/// those that the socket does not have.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct SocketOptions {
    /// Of `SOL_SOCKET`: every socket has these.
    pub so_reuseaddr: i32,
    /// 0 or 1.
    pub so_reuseport: i32,
    /// 0 or 1.
    pub so_keepalive: i32,
    /// 0 or 1.
    pub so_broadcast: i32,
    /// Seconds, -1 when off.
    pub so_linger: i32,
    /// 0 or 1.
    pub so_oobinline: i32,
    /// 0 or 1.
    pub so_dontroute: i32,
    /// A number.
    pub so_priority: i32,
    /// A number.
    pub so_mark: i32,
    /// Index of a device, 0 for any.
    pub so_bindtoifindex: i32,
    /// Bytes.
    pub so_sndbuf: i32,
    /// Bytes.
    pub so_rcvbuf: i32,
    /// Bytes.
    pub so_rcvlowat: i32,
    /// Milliseconds, 0 for ever.
    pub so_rcvtimeo: i32,
    /// Milliseconds, 0 for ever.
    pub so_sndtimeo: i32,
    /// 0 or 1.
    pub so_timestamp: i32,
    /// 0 or 1.
    pub so_zerocopy: i32,
    /// Bytes, -1 when off.
    pub so_peek_off: i32,
    /// Microseconds.
    pub so_busy_poll: i32,
    /// 0 or 1; of Unix sockets.
    pub so_passcred: i32,
    /// A number; of IP sockets, as are the following.
    pub ip_tos: i32,
    /// Hops, -1 for the system's own choice.
    pub ip_ttl: i32,
    /// A number.
    pub ip_mtu_discover: i32,
    /// 0 or 1.
    pub ip_freebind: i32,
    /// 0 or 1.
    pub ip_transparent: i32,
    /// 0 or 1.
    pub ip_recverr: i32,
    /// 0 or 1.
    pub ip_bind_address_no_port: i32,
    /// 0 or 1.
    pub ipv6_v6only: i32,
    /// 0 or 1; of TCP sockets, as are the following.
    pub tcp_nodelay: i32,
    /// 0 or 1.
    pub tcp_cork: i32,
    /// Seconds, 0 for the namespace's default.
    pub tcp_keepidle: i32,
    /// Seconds, 0 for the namespace's default.
    pub tcp_keepintvl: i32,
    /// Probes, 0 for the namespace's default.
    pub tcp_keepcnt: i32,
    /// Milliseconds.
    pub tcp_user_timeout: i32,
    /// Retransmissions of the answer that a silent client is waited for.
    pub tcp_defer_accept: i32,
    /// Retransmissions, 0 for the namespace's default.
    pub tcp_syncnt: i32,
    /// Seconds; 0 for the namespace's default, -1 when there is no waiting.
    pub tcp_linger2: i32,
    /// Bytes, 0 for the namespace's default.
    pub tcp_notsent_lowat: i32,
    /// Bytes.
    pub tcp_maxseg: i32,
    /// Requests, of a listener.
    pub tcp_fastopen: i32,
    /// 0 or 1.
    pub tcp_inq: i32,
    /// Name of the congestion control.
    pub tcp_congestion: Text<16>,
    /// Name of the upper layer protocol, empty without one.
    pub tcp_ulp: Text<16>,
}
