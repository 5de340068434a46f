//! Socket options, set before and after the state is reached.

use super::Named;

pub(super) const SCENARIOS: &[Named] = &[
    (
        "SO_RCVLOWAT before",
        "b set rcvlowat 100; reach; b recv 1000; a send 60; b inq; b poll; a send 60; b poll; b recv 1000; b get rcvlowat",
    ),
    (
        "SO_RCVLOWAT after",
        "b set rcvlowat 100; a send 60; b poll; b inq; a send 60; b poll; b recv 1000; a send 10; b poll",
    ),
    (
        "SO_RCVLOWAT with bytes there",
        "a send 60; b set rcvlowat 100; b poll; a send 60; b poll; b recv 100; b recv 100",
    ),
    (
        "SO_RCVLOWAT, epoll",
        "b set rcvlowat 50; b watch edge; a send 20; b events; a send 20; b events; a send 20; b events; b recv 100",
    ),
    (
        "SO_RCVLOWAT in a blocking receive",
        "b set rcvlowat 100; b block; b recv 1000; a send 60; a send 60",
    ),
    (
        "SO_RCVTIMEO",
        "b block; b set rcvtimeo 60; await b recv 10; a send 5; await b recv 10; await b recv 10; b get rcvtimeo",
    ),
    (
        "SO_RCVTIMEO and MSG_WAITALL",
        "b block; b set rcvtimeo 60; a send 5; await b recv 10 waitall; await b recv 10 waitall",
    ),
    (
        "SO_SNDTIMEO",
        "a block; a set sndtimeo 60; a fill; await a send 10; b drain; await a send 10; b recv 10",
    ),
    (
        "SO_LINGER",
        "a set linger 1; a send 100; a close; b recv 50; b recv 100; b recv 1",
    ),
    (
        "SO_LINGER off again",
        "a set linger 0; a set linger -1; a get linger; a send 100; a close; b drain",
    ),
    (
        "SO_RCVBUF",
        "b set rcvbuf 8192; b get rcvbuf; a send 1000; b recv 1000; a send 3000; b drain",
    ),
    (
        "SO_RCVBUF before",
        "b set rcvbuf 8192; reach; a send 1000; b recv 1000; a send 3000; b drain; b send 5; a recv 5",
    ),
    (
        "SO_SNDBUF",
        "a set sndbuf 8192; a get sndbuf; a fill; b drain; a send 100; b recv 100",
    ),
    (
        "SO_TIMESTAMP before",
        "b set timestamp 1; reach; a send 100; b recv 50 by=msg; b recv 100 by=msg; a send 10; b recv 10 by=msg",
    ),
    (
        "SO_TIMESTAMP after",
        "b set timestamp 1; a send 100; b recv 50 by=msg; b recv 100 by=msg",
    ),
    (
        "TCP_INQ before",
        "b set inq 1; reach; a send 100; b recv 50 by=msg; b recv 100 by=msg",
    ),
    (
        "TCP_INQ after",
        "b set inq 1; a send 100; b recv 50 by=msg; b recv 100 by=msg",
    ),
    (
        "SO_PEEK_OFF before",
        "b set peekoff 0; reach; a send 100; b recv 40 peek; b recv 40 peek; b recv 40 peek; b get peekoff; b recv 1000; b get peekoff",
    ),
    (
        "SO_PEEK_OFF after",
        "b set peekoff 0; a send 100; b recv 40 peek; b recv 40 peek; b recv 40 peek; b recv 1000",
    ),
    (
        "SO_OOBINLINE before",
        "b set oobinline 1; reach; a send 10; a send 1 oob; a send 10; b poll; b mark; b recv 100; b mark; b recv 100; b recv 1 oob",
    ),
    (
        "SO_OOBINLINE after",
        "b set oobinline 1; a send 10; a send 1 oob; a send 10; b poll; b mark; b recv 100; b mark; b recv 100",
    ),
    (
        "SO_ZEROCOPY before",
        "a set zerocopy 1; reach; a send 20000 zerocopy; b drain; a outq; a poll; a recv 1 by=msg errqueue; a recv 1 by=msg errqueue",
    ),
    (
        "SO_ZEROCOPY after",
        "a set zerocopy 1; a send 20000 zerocopy; b drain; a outq; a poll; a recv 1 by=msg errqueue; a recv 1 by=msg errqueue",
    ),
    (
        "TCP_NODELAY off",
        "a set nodelay 0; a get nodelay; a send 10; a send 10; a send 10; b drain; a set nodelay 1; a send 10; b drain",
    ),
    (
        "TCP_CORK",
        "a set cork 1; a send 10; a send 10; a set cork 0; b drain; b recv 10; a get cork",
    ),
    (
        "TCP_CORK holds",
        "a set cork 1; a send 10; b poll; b recv 100; a set cork 0; b recv 100",
    ),
    (
        "TCP_QUICKACK",
        "b set quickack 1; b get quickack; a send 10; b recv 10; b set quickack 0; a send 10; b recv 10",
    ),
    (
        "TCP_USER_TIMEOUT",
        "a set usertimeout 5000; a get usertimeout; a send 10; b recv 10; b send 10; a recv 10",
    ),
    (
        "keepalive",
        "a set keepalive 1; a set keepidle 30; a get keepalive; a get keepidle; a send 10; b recv 10",
    ),
    (
        "TCP_NOTSENT_LOWAT",
        "a set notsentlowat 4096; a poll; a send 10; b recv 10; a poll; a send 9000; b drain; a poll",
    ),
    (
        "TCP_INFO's state",
        "a info; a send 10; a info; a shut w; a info; b info; b recv 10; b shut w; a info; b info",
    ),
    (
        "SO_ERROR",
        "a get error; a send 10; b get error; b recv 10; a reset; b get error; b get error; b recv 1; b send 1",
    ),
];
