//! The table tells the truth: while sockets churn in several namespaces, it
//! and `ss` and `/proc/net` agree on every socket that both could see.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use socketvirt_tests::{
    netns::{Netns, veth_pair},
    session::Session,
    table::{Columns, columns, differences, proc_udp, ss, table},
};

/// Looks at the table, each between two of `ss`.
const ROUNDS: u32 = 5;

/// The churn in the namespaces while the table is read.
#[derive(Default)]
struct Churn {
    stop: AtomicBool,
    connections: AtomicU64,
}

fn enter(netns: &Netns) {
    let file = File::open(format!("/run/netns/{}", netns.name())).expect("the namespace");
    setns(&file, CloneFlags::CLONE_NEWNET).expect("enter it");
}

impl Churn {
    /// Connections that come and go, a message each.
    fn connections(&self, netns: &Netns, to: SocketAddr) {
        enter(netns);
        while !self.stop.load(Relaxed) {
            let mut stream = TcpStream::connect(to).expect("connect");
            stream.write_all(b"ping").expect("write");
            // The server may have stopped first.
            stream
                .set_read_timeout(Some(Duration::from_secs(1)))
                .expect("SO_RCVTIMEO");
            let answered = stream.read_exact(&mut [0; 4]).is_ok();
            assert!(answered || self.stop.load(Relaxed), "no answer");
            self.connections.fetch_add(1, Relaxed);
            // A reset leaves nothing in TIME_WAIT, so that ports last.
            nix::sys::socket::setsockopt(
                &stream,
                nix::sys::socket::sockopt::Linger,
                &libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                },
            )
            .expect("SO_LINGER");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn serve(&self, listener: &TcpListener) {
        listener.set_nonblocking(true).expect("O_NONBLOCK");
        while !self.stop.load(Relaxed) {
            let Ok((mut stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            stream.set_nonblocking(false).expect("blocking");
            let mut message = [0; 4];
            if stream.read_exact(&mut message).is_ok() {
                let _ = stream.write_all(&message);
            }
        }
    }

    /// Datagram and Unix sockets that come and go.
    fn others(&self, netns: &Netns) {
        enter(netns);
        while !self.stop.load(Relaxed) {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
            udp.send_to(b"self", udp.local_addr().expect("own"))
                .expect("send");
            let (mut one, mut other) = UnixStream::pair().expect("a pair");
            one.write_all(b"pair").expect("write");
            other.read_exact(&mut [0; 4]).expect("read");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Sockets that stay, with something in each queue and option.
struct Still {
    _tcp: Vec<TcpStream>,
    _listeners: Vec<TcpListener>,
    _udp: Vec<UdpSocket>,
    _unix: (Vec<UnixStream>, Vec<UnixDatagram>, UnixListener),
    _folder: tempfile::TempDir,
}

fn still(netns: &Netns) -> Still {
    thread::scope(|scope| scope.spawn(|| make_still(netns)).join().expect("sockets"))
}

fn make_still(netns: &Netns) -> Still {
    enter(netns);
    let mut tcp = Vec::new();
    let mut listeners = Vec::new();
    for address in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    ] {
        let listener = TcpListener::bind(address).expect("bind");
        let port = listener.local_addr().expect("own").port();
        let to = if address.ip().is_unspecified() {
            // Mapped: an IPv6 socket with an IPv4 peer.
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        } else {
            SocketAddr::new(address.ip(), port)
        };
        for size in [0, 1, 5000] {
            let mut client = TcpStream::connect(to).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            client.write_all(&vec![7; size]).expect("write");
            client.set_nodelay(size == 1).expect("TCP_NODELAY");
            tcp.extend([client, server]);
        }
        // Two that nobody accepts.
        tcp.push(TcpStream::connect(to).expect("connect"));
        tcp.push(TcpStream::connect(to).expect("connect"));
        // One whose peer has gone.
        let gone = TcpStream::connect(to).expect("connect");
        drop(gone);
        listeners.push(listener);
    }
    let bound = UdpSocket::bind("0.0.0.0:0").expect("bind");
    let connected = UdpSocket::bind("[::1]:0").expect("bind");
    connected
        .connect(connected.local_addr().expect("own"))
        .expect("connect");
    connected.send(&[1; 600]).expect("send");
    let folder = tempfile::tempdir().expect("a folder");
    let (mut one, other) = UnixStream::pair().expect("a pair");
    one.write_all(&[3; 777]).expect("write");
    let (first, second) = UnixDatagram::pair().expect("a pair");
    first.send(&[4; 55]).expect("send");
    let path = folder.path().join("listener");
    let listener = UnixListener::bind(&path).expect("bind");
    let waiting = UnixStream::connect(&path).expect("connect");
    Still {
        _tcp: tcp,
        _listeners: listeners,
        _udp: vec![bound, connected],
        _unix: (vec![one, other, waiting], vec![first, second], listener),
        _folder: folder,
    }
}

/// Names a socket in all accounts: for TCP by the cookie, else by the inode.
/// Sockets that wait for accept(2) have no inode, and Unix ones then no name
/// that two accounts could share.
fn key(columns: &Columns) -> Option<(String, String)> {
    let netid = columns["netid"].clone();
    match columns.get("cookie") {
        Some(cookie) => Some((netid, cookie.clone())),
        None => columns
            .get("inode")
            .filter(|inode| *inode != "0")
            .map(|inode| (netid, inode.clone())),
    }
}

type Account = BTreeMap<(String, String), Columns>;

fn account(all: impl IntoIterator<Item = Columns>) -> Account {
    all.into_iter()
        .filter_map(|columns| Some((key(&columns)?, columns)))
        .collect()
}

fn outside(netns: &str) -> Account {
    account(ss(Some(netns)).into_iter().chain(proc_udp(Some(netns))))
}

#[test]
fn the_table_agrees_with_ss_under_churn() {
    let _session = Session::start();
    let (a, b) = veth_pair();
    let c = Netns::new("c");
    let churn = Churn::default();
    let _still = [still(&a), still(&b), still(&c)];
    let in_namespace = |netns: &Netns, address: &str| -> TcpListener {
        thread::scope(|scope| {
            let bind = || {
                enter(netns);
                TcpListener::bind(address).expect("bind")
            };
            scope.spawn(bind).join().expect("a listener")
        })
    };
    let far = in_namespace(&b, "10.99.0.2:7000");
    let near = in_namespace(&c, "[::1]:7001");
    let mut compared = 0_u64;
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        let churn = &churn;
        scope.spawn(|| churn.serve(&far));
        scope.spawn(|| churn.serve(&near));
        for _ in 0..2 {
            scope.spawn(|| churn.connections(&a, "10.99.0.2:7000".parse().expect("address")));
            scope.spawn(|| churn.connections(&c, "[::1]:7001".parse().expect("address")));
        }
        scope.spawn(|| churn.others(&b));
        scope.spawn(|| churn.others(&c));
        let began = Instant::now();
        let mut looks = Looks::default();
        for _ in 0..ROUNDS {
            for netns in [&a, &b, &c] {
                compared += look(netns, &mut seen, &mut looks);
            }
        }
        churn.stop.store(true, Relaxed);
        let wrong = looks.wrong();
        assert!(
            wrong.is_empty(),
            "{} differences:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        let rate = churn.connections.load(Relaxed) / began.elapsed().as_secs().max(1);
        println!("{compared} sockets compared, {rate} connections a second meanwhile");
    });
    // Every kind was among them.
    for kind in [
        "tcp LISTEN",
        "tcp ESTABLISHED",
        "tcp CLOSE_WAIT",
        "udp CLOSE",
        "udp ESTABLISHED",
        "u_str ESTABLISHED",
        "u_str LISTEN",
        "u_dgr ESTABLISHED",
    ] {
        assert!(seen.contains(kind), "no {kind} was compared: {seen:?}");
    }
    assert!(compared > 300, "only {compared} sockets");
}

type Key = (String, String);

/// The findings of the looks at each socket.
///
/// The queue of a busy socket may be the same in both of `ss`'s looks and
/// another one in between. That is so only of a queue that one account by
/// itself has seen move; a difference in it is explained, any other is not.
#[derive(Default)]
struct Looks {
    /// By who looked: the table has an account of its own.
    values: BTreeMap<(Key, &'static str, bool), BTreeSet<String>>,
    differences: Vec<(Key, &'static str, String)>,
    alone: BTreeMap<Key, (u32, Columns)>,
}

/// The columns that move while a socket works.
const QUEUES: [&str; 4] = ["recv-q", "send-q", "rmem", "wmem"];

impl Looks {
    fn saw(&mut self, account: &Account, table: bool) {
        for (key, columns) in account {
            for field in QUEUES {
                if let Some(value) = columns.get(field) {
                    let values = self.values.entry((key.clone(), field, table)).or_default();
                    values.insert(value.clone());
                }
            }
        }
    }

    fn moves(&self, key: &Key, field: &'static str) -> bool {
        [false, true].into_iter().any(|table| {
            let values = self.values.get(&(key.clone(), field, table));
            values.is_some_and(|values| values.len() > 1)
        })
    }

    fn wrong(&self) -> Vec<String> {
        let differ = self
            .differences
            .iter()
            .filter(|(key, field, _)| !self.moves(key, field))
            .map(|(key, field, text)| format!("{key:?} {field}: {text}"));
        let alone = self.alone.iter().filter(|(_, (looks, _))| *looks > 1);
        differ
            .chain(
                alone.map(|(key, (_, row))| {
                    format!("{key:?} is only in the table, and stays: {row:?}")
                }),
            )
            .collect()
    }
}

/// One look between two others. A socket that both others show, and show
/// alike, did not change meanwhile: the table must show it, and just so.
fn look(netns: &Netns, seen: &mut BTreeSet<String>, looks: &mut Looks) -> u64 {
    let before = outside(netns.name());
    let rows: Vec<Value> = table(&format!("--netns {}", netns.name()));
    let after = outside(netns.name());
    let table = account(rows.iter().map(columns));
    looks.saw(&before, false);
    looks.saw(&after, false);
    looks.saw(&table, true);
    let mut compared = 0;
    for (key, first) in &before {
        if after.get(key) != Some(first) {
            continue;
        }
        compared += 1;
        seen.insert(format!("{} {}", first["netid"], first["state"]));
        match table.get(key) {
            None => looks
                .differences
                .push((key.clone(), "row", format!("none of {first:?}"))),
            Some(row) => {
                for (field, text) in differences(row, first) {
                    looks.differences.push((key.clone(), field, text));
                }
            }
        }
    }
    // The other way: what only the table shows has come and gone between the
    // looks of the others, or is in no list of the kernel. A socket that is so
    // in two looks at the table did not come and go.
    for (key, row) in &table {
        let others = before.contains_key(key) || after.contains_key(key);
        let unlisted = matches!(row["state"].as_str(), "CLOSE" | "SYN_RECV");
        if !others && !unlisted {
            let alone = looks.alone.entry(key.clone());
            alone.or_insert_with(|| (0, row.clone())).0 += 1;
        }
    }
    compared
}
