//! The options of a socket by the names that programs use.

use serde_json::{Map, Value};
use socketvirt_common::record::{
    options::{SocketOptions, UNKNOWN},
    row::{Family, Row},
};

use super::words::text;

/// Gives name and value of each number among the options.
macro_rules! numbers {
    ($options:expr; $($name:literal $field:ident),* $(,)?) => {
        [$(($name, $options.$field)),*]
    };
}

fn numbers(options: &SocketOptions) -> [(&'static str, i32); 41] {
    numbers!(options;
        "SO_REUSEADDR" so_reuseaddr,
        "SO_REUSEPORT" so_reuseport,
        "SO_KEEPALIVE" so_keepalive,
        "SO_BROADCAST" so_broadcast,
        "SO_LINGER" so_linger,
        "SO_OOBINLINE" so_oobinline,
        "SO_DONTROUTE" so_dontroute,
        "SO_PRIORITY" so_priority,
        "SO_MARK" so_mark,
        "SO_BINDTOIFINDEX" so_bindtoifindex,
        "SO_SNDBUF" so_sndbuf,
        "SO_RCVBUF" so_rcvbuf,
        "SO_RCVLOWAT" so_rcvlowat,
        "SO_RCVTIMEO" so_rcvtimeo,
        "SO_SNDTIMEO" so_sndtimeo,
        "SO_TIMESTAMP" so_timestamp,
        "SO_ZEROCOPY" so_zerocopy,
        "SO_PEEK_OFF" so_peek_off,
        "SO_BUSY_POLL" so_busy_poll,
        "SO_PASSCRED" so_passcred,
        "IP_TOS" ip_tos,
        "IP_TTL" ip_ttl,
        "IP_MTU_DISCOVER" ip_mtu_discover,
        "IP_FREEBIND" ip_freebind,
        "IP_TRANSPARENT" ip_transparent,
        "IP_RECVERR" ip_recverr,
        "IP_BIND_ADDRESS_NO_PORT" ip_bind_address_no_port,
        "IPV6_V6ONLY" ipv6_v6only,
        "TCP_NODELAY" tcp_nodelay,
        "TCP_CORK" tcp_cork,
        "TCP_KEEPIDLE" tcp_keepidle,
        "TCP_KEEPINTVL" tcp_keepintvl,
        "TCP_KEEPCNT" tcp_keepcnt,
        "TCP_USER_TIMEOUT" tcp_user_timeout,
        "TCP_DEFER_ACCEPT" tcp_defer_accept,
        "TCP_SYNCNT" tcp_syncnt,
        "TCP_LINGER2" tcp_linger2,
        "TCP_NOTSENT_LOWAT" tcp_notsent_lowat,
        "TCP_MAXSEG" tcp_maxseg,
        "TCP_FASTOPEN" tcp_fastopen,
        "TCP_INQ" tcp_inq,
    )
}

/// The options of a row by name; those that the socket does not have are left
/// out. `None` when the row is not of a socket (any more).
#[must_use]
pub fn options(row: &Row) -> Map<String, Value> {
    let mut all = Map::new();
    if row.is_mini() || matches!(row.local.family, Family::OTHER) {
        return all;
    }
    for (name, value) in numbers(&row.options) {
        if value != UNKNOWN {
            all.insert(name.to_owned(), value.into());
        }
    }
    for (name, value) in [
        ("TCP_CONGESTION", text(&row.options.tcp_congestion)),
        ("TCP_ULP", text(&row.options.tcp_ulp)),
    ] {
        if !value.is_empty() {
            all.insert(name.to_owned(), value.into());
        }
    }
    all
}
