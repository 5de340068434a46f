//! Options and poll events of the table are those that the program itself gets
//! from getsockopt(2) and poll(2).

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::sys::socket::{Backlog, MsgFlags, SockaddrIn, bind, connect, getsockname, listen, send};
use serde_json::Value;
use socketvirt_tests::{
    process::until,
    session::Session,
    table::{
        keep::{cookie, row},
        table,
    },
};

/// Options that are a number which getsockopt(2) gives as it is.
const NUMBERS: &[(&str, i32, i32)] = &[
    ("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR),
    ("SO_REUSEPORT", libc::SOL_SOCKET, libc::SO_REUSEPORT),
    ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    ("SO_BROADCAST", libc::SOL_SOCKET, libc::SO_BROADCAST),
    ("SO_OOBINLINE", libc::SOL_SOCKET, libc::SO_OOBINLINE),
    ("SO_DONTROUTE", libc::SOL_SOCKET, libc::SO_DONTROUTE),
    ("SO_PRIORITY", libc::SOL_SOCKET, libc::SO_PRIORITY),
    ("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK),
    ("SO_SNDBUF", libc::SOL_SOCKET, libc::SO_SNDBUF),
    ("SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF),
    ("SO_RCVLOWAT", libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    ("SO_TIMESTAMP", libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    ("SO_ZEROCOPY", libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    ("SO_PEEK_OFF", libc::SOL_SOCKET, libc::SO_PEEK_OFF),
    ("SO_BUSY_POLL", libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    ("SO_BINDTOIFINDEX", libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX),
    ("SO_PASSCRED", libc::SOL_SOCKET, libc::SO_PASSCRED),
    ("IP_TOS", libc::IPPROTO_IP, libc::IP_TOS),
    ("IP_MTU_DISCOVER", libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    ("IP_FREEBIND", libc::IPPROTO_IP, libc::IP_FREEBIND),
    ("IP_TRANSPARENT", libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    ("IP_RECVERR", libc::IPPROTO_IP, libc::IP_RECVERR),
    (
        "IP_BIND_ADDRESS_NO_PORT",
        libc::IPPROTO_IP,
        libc::IP_BIND_ADDRESS_NO_PORT,
    ),
    ("IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    ("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY),
    ("TCP_CORK", libc::IPPROTO_TCP, libc::TCP_CORK),
    ("TCP_FASTOPEN", libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    ("TCP_INQ", libc::IPPROTO_TCP, libc::TCP_INQ),
    (
        "TCP_USER_TIMEOUT",
        libc::IPPROTO_TCP,
        libc::TCP_USER_TIMEOUT,
    ),
];

/// Those for which the table says what stands for the default, and which are
/// compared once they are set.
const SET_ONLY: &[(&str, i32, i32)] = &[
    ("IP_TTL", libc::IPPROTO_IP, libc::IP_TTL),
    ("TCP_KEEPIDLE", libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    ("TCP_KEEPINTVL", libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    ("TCP_KEEPCNT", libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    ("TCP_SYNCNT", libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    ("TCP_LINGER2", libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (
        "TCP_NOTSENT_LOWAT",
        libc::IPPROTO_TCP,
        libc::TCP_NOTSENT_LOWAT,
    ),
];

/// Values that a program may set, other than the usual ones.
const VALUES: &[(&str, i32)] = &[
    ("SO_REUSEADDR", 1),
    ("SO_REUSEPORT", 1),
    ("SO_KEEPALIVE", 1),
    ("SO_BROADCAST", 1),
    ("SO_OOBINLINE", 1),
    ("SO_DONTROUTE", 1),
    ("SO_PRIORITY", 5),
    ("SO_MARK", 77),
    ("SO_SNDBUF", 50_000),
    ("SO_RCVBUF", 60_000),
    ("SO_RCVLOWAT", 9),
    ("SO_TIMESTAMP", 1),
    ("SO_ZEROCOPY", 1),
    ("SO_PEEK_OFF", 3),
    ("SO_BUSY_POLL", 50),
    // The loopback interface.
    ("SO_BINDTOIFINDEX", 1),
    ("SO_PASSCRED", 1),
    ("IP_TOS", 0x10),
    ("IP_MTU_DISCOVER", 2),
    ("IP_FREEBIND", 1),
    ("IP_TRANSPARENT", 1),
    ("IP_RECVERR", 1),
    ("IP_BIND_ADDRESS_NO_PORT", 1),
    ("IPV6_V6ONLY", 1),
    ("TCP_NODELAY", 1),
    ("TCP_CORK", 1),
    ("TCP_INQ", 1),
    ("TCP_USER_TIMEOUT", 12_345),
    ("IP_TTL", 33),
    ("TCP_KEEPIDLE", 44),
    ("TCP_KEEPINTVL", 11),
    ("TCP_KEEPCNT", 4),
    ("TCP_SYNCNT", 3),
    ("TCP_LINGER2", 22),
    ("TCP_NOTSENT_LOWAT", 16_384),
];

fn get<T>(fd: &impl AsRawFd, level: i32, name: i32, value: &mut T) -> bool {
    let mut size = libc::socklen_t::try_from(size_of::<T>()).expect("small");
    // SAFETY: room for the value, as large as is said.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_mut(value).cast(),
            &raw mut size,
        )
    };
    answer == 0
}

fn set<T>(fd: &impl AsRawFd, level: i32, name: i32, value: &T) -> bool {
    let size = libc::socklen_t::try_from(size_of::<T>()).expect("small");
    // SAFETY: a value, as large as is said.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size,
        )
    };
    answer == 0
}

fn new(family: i32, kind: i32) -> OwnedFd {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::socket(family, kind, 0) };
    assert!(fd >= 0, "socket");
    // SAFETY: a new descriptor, of nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Compares the options that both know; returns how many that were.
fn compare(fd: &OwnedFd, what: &str, lists: &[&[(&str, i32, i32)]]) -> usize {
    let shown = row(cookie(fd));
    let options = shown["options"].as_object().expect("options");
    let mut compared = 0;
    for (name, level, option) in lists.iter().copied().flatten() {
        let mut own = 0_i32;
        let has = get(fd, *level, *option, &mut own);
        let Some(value) = options.get(*name) else {
            continue;
        };
        assert!(has, "{what} has no {name}, the table says {value}");
        assert_eq!(value.as_i64(), Some(own.into()), "{name} of {what}");
        compared += 1;
    }
    compared
}

#[test]
fn options_are_what_getsockopt_says() {
    let _session = Session::start();
    for (what, family, kind, count) in [
        ("tcp", libc::AF_INET, libc::SOCK_STREAM, 27),
        ("tcp6", libc::AF_INET6, libc::SOCK_STREAM, 28),
        ("udp", libc::AF_INET, libc::SOCK_DGRAM, 22),
        ("unix stream", libc::AF_UNIX, libc::SOCK_STREAM, 16),
        ("unix datagram", libc::AF_UNIX, libc::SOCK_DGRAM, 16),
    ] {
        let fd = new(family, kind);
        let compared = compare(&fd, what, &[NUMBERS]);
        assert!(compared >= count, "only {compared} options of {what}");
        let mut changed = 0;
        for (name, value) in VALUES {
            let (_, level, option) = NUMBERS
                .iter()
                .chain(SET_ONLY)
                .find(|(other, ..)| other == name)
                .expect("an option");
            // Not every kind of socket takes every option.
            changed += usize::from(set(&fd, *level, *option, value));
        }
        assert!(changed >= 10, "only {changed} could be set on {what}");
        let (lists, count): (&[&[_]], _) = if what.starts_with("tcp") {
            (&[NUMBERS, SET_ONLY], count + SET_ONLY.len())
        } else {
            (&[NUMBERS], count)
        };
        let compared = compare(&fd, what, lists);
        assert!(compared >= count, "only {compared} options of {what}");
    }
}

#[test]
fn times_and_names_are_what_getsockopt_says() {
    let _session = Session::start();
    let fd = new(libc::AF_INET, libc::SOCK_STREAM);
    let option = |name: &str| row(cookie(&fd))["options"][name].clone();
    assert_eq!(option("SO_LINGER"), -1);
    assert_eq!(option("SO_RCVTIMEO"), 0);
    assert_eq!(option("SO_SNDTIMEO"), 0);
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 7,
    };
    assert!(set(&fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger));
    let time = libc::timeval {
        tv_sec: 3,
        tv_usec: 500_000,
    };
    assert!(set(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time));
    let time = libc::timeval {
        tv_sec: 4,
        tv_usec: 0,
    };
    assert!(set(&fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &time));
    assert_eq!(option("SO_SNDTIMEO"), 4000);
    assert_eq!(option("SO_LINGER"), 7);
    assert_eq!(option("SO_RCVTIMEO"), 3500);
    let mut name = [0_u8; 16];
    assert!(get(&fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, &mut name));
    let name = String::from_utf8_lossy(&name);
    assert_eq!(option("TCP_CONGESTION"), name.trim_end_matches('\0'));
}

/// Options that only listeners and connections have.
#[test]
fn options_of_connections_are_what_getsockopt_says() {
    let _session = Session::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let option = |fd: &dyn AsRawFd, name: &str| {
        // SAFETY: open as long as `fd` is borrowed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        row(cookie(&fd))["options"][name].clone()
    };
    assert!(set(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, &7));
    assert_eq!(option(&listener, "TCP_FASTOPEN"), 7);
    // 1, 2, 4 and 8 seconds: four retransmissions are 15, of which it is told.
    assert!(set(
        &listener,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        &15
    ));
    assert_eq!(option(&listener, "TCP_DEFER_ACCEPT"), 4);
    assert!(set(
        &listener,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        &0
    ));
    let client = TcpStream::connect(listener.local_addr().expect("own")).expect("connect");
    let mut segment = 0_i32;
    assert!(get(
        &client,
        libc::IPPROTO_TCP,
        libc::TCP_MAXSEG,
        &mut segment
    ));
    assert_eq!(option(&client, "TCP_MAXSEG"), segment);
    assert!(option(&client, "TCP_ULP").is_null());

    // The one upper layer that every kernel with it lets a program choose.
    let multipath = || {
        // SAFETY: takes numbers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
        assert!(fd >= 0, "IPPROTO_MPTCP");
        // SAFETY: a new descriptor, of nobody else.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    let listener = multipath();
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind");
    listen(&listener, Backlog::new(1).expect("a backlog")).expect("listen");
    let to: SockaddrIn = getsockname(listener.as_raw_fd()).expect("own");
    let client = multipath();
    connect(client.as_raw_fd(), &to).expect("connect");
    let rows = table(&format!("--port {} --status connected", to.port()));
    assert!(!rows.is_empty(), "no connection");
    for row in rows {
        assert_eq!(row["options"]["TCP_ULP"], "mptcp", "{row:#}");
    }
}

/// Asks poll(2) about a socket, in the table's words.
fn polled(fd: &impl AsRawFd) -> Vec<&'static str> {
    let words = [
        (libc::POLLIN, "readable"),
        (libc::POLLPRI, "urgent"),
        (libc::POLLOUT, "writable"),
        (libc::POLLERR, "error"),
        (libc::POLLHUP, "hang-up"),
        (libc::POLLRDHUP, "peer-closed"),
    ];
    let mut one = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: words.iter().fold(0, |all, (bit, _)| all | bit),
        revents: 0,
    };
    // SAFETY: one structure, as is said.
    let answer = unsafe { libc::poll(&raw mut one, 1, 0) };
    assert!(answer >= 0, "poll");
    words
        .into_iter()
        .filter(|(bit, _)| one.revents & bit != 0)
        .map(|(_, word)| word)
        .collect()
}

/// The table and poll(2) agree on a socket of which `expected` is said.
#[track_caller]
fn agree(fd: &impl AsRawFd, expected: &[&str]) {
    // Bytes sent may still be under way.
    until("poll(2) says what it must", || polled(fd) == expected);
    let shown = row(cookie(fd));
    let event: Vec<&str> = shown["local"]["event"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(event, expected, "{shown:#}");
}

#[test]
fn events_are_what_poll_says() {
    let _session = Session::start();
    agree(
        &new(libc::AF_INET, libc::SOCK_STREAM),
        &["writable", "hang-up"],
    );
    agree(&new(libc::AF_INET, libc::SOCK_DGRAM), &["writable"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    agree(&listener, &[]);
    let to = listener.local_addr().expect("own");
    let mut client = TcpStream::connect(to).expect("connect");
    agree(&listener, &["readable"]);
    let (server, _) = listener.accept().expect("accept");
    agree(&listener, &[]);
    agree(&client, &["writable"]);
    client.write_all(b"some").expect("write");
    agree(&server, &["readable", "writable"]);
    send(client.as_raw_fd(), b"!", MsgFlags::MSG_OOB).expect("MSG_OOB");
    agree(&server, &["readable", "urgent", "writable"]);
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    agree(&server, &["readable", "urgent", "writable", "peer-closed"]);
    drop(server);
    // Closed with unread bytes: a reset.
    agree(
        &client,
        &["readable", "writable", "error", "hang-up", "peer-closed"],
    );

    let one = UdpSocket::bind("127.0.0.1:0").expect("bind");
    one.send_to(b"x", one.local_addr().expect("own"))
        .expect("send");
    agree(&one, &["readable", "writable"]);
    let (near, far) = UnixStream::pair().expect("a pair");
    agree(&near, &["writable"]);
    (&far).write_all(b"x").expect("write");
    agree(&near, &["readable", "writable"]);
    drop(far);
    agree(&near, &["readable", "writable", "hang-up", "peer-closed"]);
}
