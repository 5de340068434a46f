//! The table of `socketvirt run` follows the life of sockets, in words that
//! `bpftool` prints, within its bounds.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    process::Command,
};

use nix::sys::{
    signal::Signal,
    socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, listen,
        socket,
    },
};
use serde_json::Value;
use socketvirt_tests::{
    netns::veth_pair,
    process::{Process, must, until},
    run::binary,
    scans,
    session::Session,
    table::{
        keep::{PATIENCE, PINS, cookie, end, keep, life, reset, row},
        table,
    },
};

fn tcp() -> OwnedFd {
    socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::empty(),
        None,
    )
    .expect("socket")
}

fn port(fd: &impl std::os::fd::AsRawFd) -> u16 {
    getsockname::<SockaddrIn>(fd.as_raw_fd())
        .expect("own address")
        .port()
}

#[track_caller]
fn status(id: u64, expected: &str) {
    let shown = row(id);
    assert_eq!(shown["status"], expected, "{shown:#}");
}

#[test]
fn a_life_from_socket_to_close() {
    let _session = Session::start();
    // Scans far apart, so that what follows is the hooks' work.
    let keeper = keep(scans::ONCE);
    let listener = tcp();
    let id = cookie(&listener);
    status(id, "UNCONNECTED");
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind");
    status(id, "BOUND");
    listen(&listener, Backlog::new(8).expect("a backlog")).expect("listen");
    status(id, "LISTENING");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port(&listener)));
    let listener = TcpListener::from(listener);

    let mut client = TcpStream::connect(address).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    let (near, far) = (cookie(&client), cookie(&server));
    status(near, "CONNECTED");
    assert_eq!(row(near)["remote"]["id"], far);
    assert_eq!(row(far)["remote"]["id"], near);
    client.write_all(&[1; 100]).expect("write");
    status(far, "RECEIVING");
    assert_eq!(row(far)["receive_queue"]["bytes"], 100);
    server.read_exact(&mut [0; 100]).expect("read");
    status(far, "CONNECTED");
    client.shutdown(Shutdown::Write).expect("shutdown");
    status(near, "SHUTDOWN");
    status(far, "DISCONNECTED");
    drop(server);
    drop(client);
    drop(listener);
    for id in [id, near, far] {
        status(id, "TERMINATED");
    }
    assert_eq!(
        life(id),
        ["UNCONNECTED", "BOUND", "LISTENING", "TERMINATED"]
    );
    assert_eq!(
        life(near),
        [
            "UNCONNECTED",
            "CONNECTING",
            "CONNECTED",
            "SHUTDOWN",
            "TERMINATED"
        ]
    );
    // A child of a listener passes neither of the first.
    assert_eq!(life(far), ["CONNECTED", "DISCONNECTED", "TERMINATED"]);
    end(keeper);
}

/// All that is known of a socket that came and went between two scans is what
/// was noted.
#[test]
fn a_life_that_no_scan_saw() {
    let _session = Session::start();
    let keeper = keep(scans::ONCE);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let to = listener.local_addr().expect("own");
    let client = TcpStream::connect(to).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    let (near, far) = (cookie(&client), cookie(&server));
    drop((client, server));
    let udp = UdpSocket::bind("[::1]:0").expect("bind");
    let (datagram, port) = (cookie(&udp), udp.local_addr().expect("own").port());
    drop(udp);
    let own = fs::metadata("/proc/self/ns/net").expect("own").ino();
    for id in [near, far, datagram] {
        let shown = row(id);
        assert_eq!(shown["status"], "TERMINATED", "{shown:#}");
        assert_eq!(shown["local"]["netns"], own, "{shown:#}");
    }
    let (near, far) = (row(near), row(far));
    assert_eq!(near["remote"]["port"], to.port());
    assert_eq!(near["remote"]["id"], far["id"]);
    assert_eq!(near["owner"]["pid"], std::process::id());
    assert_eq!(far["local"]["address"], "127.0.0.1");
    let datagram = row(datagram);
    assert_eq!(datagram["netid"], "udp");
    assert_eq!(datagram["local"]["address"], "::1");
    assert_eq!(datagram["local"]["port"], port);
    end(keeper);
}

#[test]
fn statuses_that_wait() {
    let _session = Session::start();
    let keeper = keep(scans::ONCE);
    // Nobody answers there: the packet goes nowhere. Its neighbour is known,
    // or the connection would end when nobody tells who it is.
    let (netns, _other) = veth_pair();
    netns.ip("neigh add 10.99.0.77 lladdr 02:00:00:00:00:77 dev veth0");
    let mut asking = Command::new("nsenter");
    asking.arg(format!("--net=/run/netns/{}", netns.name()));
    asking.args(["bash", "-c", "exec 3<>/dev/tcp/10.99.0.77/7"]);
    let asking = Process::start(&mut asking);
    until("a connection is asked for", || {
        let rows = table(&format!("--netns {} --port 7", netns.name()));
        rows.iter().any(|row| row["status"] == "CONNECTING")
    });
    drop(asking);

    // A reader that does not read: the sender's queue fills.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut client = TcpStream::connect(listener.local_addr().expect("own")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    client.set_nonblocking(true).expect("O_NONBLOCK");
    while client.write(&[0; 4096]).is_ok() {}
    status(cookie(&client), "SENDING");
    let full = row(cookie(&client));
    assert!(
        !full["local"]["event"].to_string().contains("writable"),
        "{full:#}"
    );

    // A reset, with the descriptor still open.
    reset(server);
    let id = cookie(&client);
    status(id, "DISCONNECTED");
    let reset = row(id);
    assert_eq!(reset["state"], "CLOSE");
    assert_eq!(reset["local"]["error"], libc::ECONNRESET);
    // And one that dissolves its connection can begin again.
    drop(client);

    let refused = tcp();
    let nobody = {
        let gone = TcpListener::bind("127.0.0.1:0").expect("bind");
        gone.local_addr().expect("own").port()
    };
    connect(refused.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, nobody)).expect_err("refused");
    status(cookie(&refused), "UNCONNECTED");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    status(cookie(&udp), "BOUND");
    udp.connect(udp.local_addr().expect("own"))
        .expect("connect");
    status(cookie(&udp), "CONNECTED");
    udp.send(b"to itself").expect("send");
    status(cookie(&udp), "RECEIVING");
    end(keeper);
}

#[test]
fn a_socket_from_before_is_there_too() {
    let _session = Session::start();
    let listener = TcpListener::bind("[::]:0").expect("bind");
    let to = SocketAddr::from((
        Ipv4Addr::LOCALHOST,
        listener.local_addr().expect("own").port(),
    ));
    let client = TcpStream::connect(to).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    let waiting = TcpStream::connect(to).expect("connect");
    let keeper = keep(scans::ONCE);
    let dump = must("bpftool", ["-j", "map", "dump", "pinned", PINS]);
    let dump: Value = serde_json::from_str(&dump).expect("JSON");
    let find = |id: u64| {
        let all = dump.as_array().expect("entries");
        let found = all
            .iter()
            .map(|entry| &entry["formatted"]["value"])
            .find(|row| row["id"] == id);
        found
            .unwrap_or_else(|| panic!("{id} is not in the map"))
            .clone()
    };
    let shown = find(cookie(&server));
    // Names of fields, words for statuses, addresses to read back.
    assert_eq!(shown["status"], "CONNECTED", "{shown:#}");
    assert_eq!(shown["state"], "ESTABLISHED");
    assert_eq!(shown["local"]["family"], "INET6");
    assert_eq!(shown["local"]["address"], "::ffff:127.0.0.1");
    assert_eq!(shown["local"]["port"], to.port());
    assert_eq!(shown["send"]["path"], "Stack");
    assert_eq!(shown["owner"]["pid"], std::process::id());
    let shown = find(cookie(&listener));
    assert_eq!(shown["status"], "LISTENING");
    assert_eq!(shown["connection_queue"]["waiting"], 1);
    // Both ends are paired without having seen the handshake.
    assert_eq!(row(cookie(&client))["remote"]["id"], cookie(&server));
    assert_eq!(row(cookie(&server))["remote"]["id"], cookie(&client));
    drop(waiting);
    end(keeper);
}

/// The oldest closed rows go first; then sockets are missing, are counted, and
/// work all the same.
#[test]
fn a_full_map_costs_rows_and_nothing_else() {
    let _session = Session::start();
    let keeper = keep(&format!("--rows 40 {}", scans::ONCE));
    let rows = || {
        let dump = must("bpftool", ["-j", "map", "dump", "pinned", PINS]);
        let dump: Value = serde_json::from_str(&dump).expect("JSON");
        dump.as_array().expect("entries").len()
    };
    // Closed ones make room: far more than there is room for.
    for _ in 0..200 {
        drop(UdpSocket::bind("127.0.0.1:0").expect("bind"));
    }
    let living = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let id = cookie(&living);
    until("the living one has a row", || {
        must("bpftool", ["-j", "map", "dump", "pinned", PINS]).contains(&format!("\"id\":{id}"))
    });
    // Living ones do not.
    let mut held: Vec<UdpSocket> = Vec::new();
    for _ in 0..100 {
        held.push(UdpSocket::bind("127.0.0.1:0").expect("bind"));
    }
    assert!(rows() <= 40, "{}", rows());
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut client = TcpStream::connect(listener.local_addr().expect("own")).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    client.write_all(b"all the same").expect("write");
    server.read_exact(&mut [0; 12]).expect("read");
    // Notes become rows within a second.
    until("the map is full", || rows() == 40);
    let report = end(keeper);
    drop(held);
    let count = |text: &str| -> u64 {
        let line = report
            .lines()
            .find(|line| line.contains(text))
            .expect("a report");
        let before = line.split(text).next().expect("a number");
        before
            .rsplit([' ', ','])
            .find_map(|word| word.parse().ok())
            .expect("a number")
    };
    assert!(count(" sockets found no room") >= 60, "{report}");
    assert!(count(" closed ones made room") >= 160, "{report}");
}

/// A reader that stands still loses events and holds nobody up.
#[test]
fn a_slow_reader_loses_events() {
    let _session = Session::start();
    let mut command = Command::new(binary());
    command.args(["events", "--follow", "--json"]);
    let mut reader = Process::start(&mut command);
    until("events are followed", || {
        reader.stderr().contains("following")
    });
    let first = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let id = cookie(&first);
    until("the first event is read", || {
        reader.stdout().contains(&format!("\"id\":{id},"))
    });
    reader.signal(Signal::SIGSTOP);
    // Three events each, of which the ring holds 32768.
    for _ in 0..15_000 {
        drop(UdpSocket::bind("127.0.0.1:0").expect("bind"));
    }
    reader.signal(Signal::SIGCONT);
    until("the loss is reported", || {
        reader.stderr().contains("events were lost")
    });
    reader.signal(Signal::SIGINT);
    let ended = reader.finish(PATIENCE);
    ended.success();
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let of_first: Vec<_> = lines
        .iter()
        .filter(|event| event["id"] == id && event["event"] == "status")
        .filter_map(|event| event["to"].as_str())
        .collect();
    assert_eq!(of_first, ["UNCONNECTED", "BOUND"]);
    assert!(
        lines.len() < 45_000,
        "nothing was lost of {} events",
        lines.len()
    );
}
