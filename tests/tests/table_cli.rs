//! The table as a command: filters, order, refreshing, colours, pager.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    process::Command,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use socketvirt_tests::{
    netns::Netns,
    process::{Process, must, until},
    run::binary,
    session::Session,
    table::{
        keep::{PATIENCE, cookie},
        table,
    },
};

/// In the order of a life.
const STATUSES: [&str; 10] = [
    "UNCONNECTED",
    "BOUND",
    "LISTENING",
    "CONNECTING",
    "CONNECTED",
    "SENDING",
    "RECEIVING",
    "DISCONNECTED",
    "SHUTDOWN",
    "TERMINATED",
];

/// Sockets of each kind, all of this process.
struct Sockets {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
    udp: UdpSocket,
    unix: (UnixStream, UnixStream),
}

impl Sockets {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("own")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        Self {
            listener,
            client,
            server,
            udp: UdpSocket::bind("127.0.0.1:0").expect("bind"),
            unix: UnixStream::pair().expect("a pair"),
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("own").port()
    }

    fn ids(&self) -> [u64; 6] {
        [
            cookie(&self.listener),
            cookie(&self.client),
            cookie(&self.server),
            cookie(&self.udp),
            cookie(&self.unix.0),
            cookie(&self.unix.1),
        ]
    }
}

/// Which of `ours` the table shows; every row shown must be as the filter says.
#[track_caller]
fn shown(args: &str, ours: &[u64], is: impl Fn(&Value) -> bool) -> BTreeSet<usize> {
    let rows = table(args);
    let other = rows.iter().find(|row| !is(row));
    assert!(other.is_none(), "{args}: {other:#?}");
    let ids: BTreeSet<u64> = rows.iter().filter_map(|row| row["id"].as_u64()).collect();
    (0..ours.len())
        .filter(|index| ids.contains(&ours[*index]))
        .collect()
}

#[test]
fn filters_show_what_they_name_and_nothing_else() {
    let _session = Session::start();
    let sockets = Sockets::new();
    let ours = sockets.ids();
    let port = u64::from(sockets.port());
    let check = |args: &str, expected: &[usize], is: &dyn Fn(&Value) -> bool| {
        let found = shown(args, &ours, is);
        assert_eq!(found, expected.iter().copied().collect(), "{args}");
    };
    let own = fs::metadata("/proc/self/ns/net").expect("own").ino();
    let pid = std::process::id();
    check("", &[0, 1, 2, 3, 4, 5], &|_| true);
    check("--listening", &[0], &|row| row["status"] == "LISTENING");
    check(&format!("--port {port}"), &[0, 1, 2], &|row| {
        row["local"]["port"] == port || row["remote"]["port"] == port
    });
    check("--status connected", &[1, 2, 4, 5], &|row| {
        row["status"] == "CONNECTED"
    });
    check(
        "--status CONNECTED --status BOUND",
        &[1, 2, 3, 4, 5],
        &|row| row["status"] == "CONNECTED" || row["status"] == "BOUND",
    );
    check("--path stack", &[1, 2], &|row| {
        row["path"]["path"] == "stack"
    });
    check("--path fast", &[], &|row| row["path"]["path"] == "fast");
    check("--family udp", &[3], &|row| row["netid"] == "udp");
    check("--family inet", &[0, 1, 2, 3], &|row| {
        row["local"]["family"] == "inet"
    });
    check("--type dgram", &[3], &|row| row["local"]["type"] == "dgram");
    check(&format!("--pid {pid}"), &[0, 1, 2, 3, 4, 5], &|row| {
        row["owner"]["processes"]
            .to_string()
            .contains(&pid.to_string())
    });
    check("--netns own", &[0, 1, 2, 3, 4, 5], &|row| {
        row["local"]["netns"] == own
    });
    check(&format!("--netns {own}"), &[0, 1, 2, 3, 4, 5], &|row| {
        row["local"]["netns"] == own
    });
    let other = Netns::new("elsewhere");
    check(&format!("--netns {}", other.name()), &[], &|row| {
        row["local"]["netns_name"] == other.name()
    });
    let cgroup = fs::read_to_string("/proc/self/cgroup").expect("the own cgroup");
    let cgroup = cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .expect("version 2");
    check(&format!("--cgroup {cgroup}"), &[0, 1, 2, 3, 4, 5], &|row| {
        let shown = row["owner"]["cgroup"].as_str().unwrap_or_default();
        shown.starts_with(cgroup)
    });
    check("--cgroup /there/is/none", &[], &|_| false);
}

#[test]
fn rows_come_in_the_order_asked_for() {
    let _session = Session::start();
    let _sockets = Sockets::new();
    let numbers = |sort: &str, pointer: &str| -> Vec<u64> {
        let rows = table(&format!("--sort {sort}"));
        let number = |row: &Value| row.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        rows.iter().map(number).collect()
    };
    for (sort, pointer) in [
        ("id", "/id"),
        ("pid", "/owner/pid"),
        ("port", "/local/port"),
    ] {
        let found = numbers(sort, pointer);
        assert!(found.is_sorted(), "--sort {sort}: {found:?}");
        assert!(found.len() > 5, "--sort {sort}: {found:?}");
    }
    // Text, status, port: what `--sort kind` and `--sort status` go by.
    let places = |sort: &str| -> Vec<(String, usize, u64)> {
        let place = |row: &Value| {
            let status = row["status"].as_str().expect("a status");
            let stage = STATUSES.iter().position(|one| *one == status);
            (
                row["netid"].as_str().expect("a kind").to_owned(),
                stage.unwrap_or_else(|| panic!("no status: {status}")),
                row["local"]["port"].as_u64().unwrap_or(0),
            )
        };
        table(&format!("--sort {sort}")).iter().map(place).collect()
    };
    let found = places("kind");
    assert!(found.is_sorted(), "--sort kind: {found:?}");
    let found = places("status");
    let stages = found.iter().map(|(_, stage, _)| stage);
    assert!(stages.is_sorted(), "--sort status: {found:?}");
    // Of connections that others have accelerated, too.
    let rows = table("--sort bytes");
    let sent: Vec<u64> = rows
        .iter()
        .map(|row| {
            ["/path/stack_bytes", "/path/fast_bytes"]
                .iter()
                .filter_map(|pointer| row.pointer(pointer)?.as_u64())
                .sum()
        })
        .collect();
    assert!(sent.iter().rev().is_sorted(), "--sort bytes: {sent:?}");
    let rows = table("--sort queue");
    let queued: Vec<u64> = rows
        .iter()
        .map(|row| {
            [
                "/send_queue/bytes",
                "/receive_queue/bytes",
                "/receive_queue/redirected",
            ]
            .iter()
            .filter_map(|pointer| row.pointer(pointer)?.as_u64())
            .sum()
        })
        .collect();
    assert!(queued.iter().rev().is_sorted(), "--sort queue: {queued:?}");
}

/// A shell's `script` runs a command on a terminal of its own.
fn on_a_terminal(variables: &str, args: &str) -> String {
    let command = format!("{variables} {} table {args}", binary().display());
    must(
        "script",
        ["--quiet", "--return", "--command", &command, "/dev/null"],
    )
}

#[test]
fn colours_and_pager_are_for_terminals() {
    let _session = Session::start();
    let pairs: Vec<_> = (0..30)
        .map(|_| UnixStream::pair().expect("a pair"))
        .collect();
    let pid = format!("--pid {}", std::process::id());
    let pager = "PAGER='sed s/^/paged:/'";
    let coloured = on_a_terminal(pager, &pid);
    assert!(coloured.contains("paged:"), "{coloured}");
    assert!(coloured.contains("\x1b["), "{coloured}");
    let plain = on_a_terminal(&format!("NO_COLOR=1 {pager}"), &pid);
    assert!(
        plain.contains("paged:") && !plain.contains('\x1b'),
        "{plain}"
    );
    let short = on_a_terminal(pager, "--port 65000 --status LISTENING");
    assert!(!short.contains("paged:"), "{short}");
    let mut piped = Command::new("sh");
    piped.args(["-c", &format!("{pager} {} table {pid}", binary().display())]);
    let mut piped = Process::start(&mut piped);
    let piped = piped.finish(PATIENCE);
    piped.success();
    assert!(!piped.stdout.contains("paged:") && !piped.stdout.contains('\x1b'));
    assert!(piped.stdout.lines().count() > 50, "{}", piped.stdout);
    drop(pairs);
}

#[test]
fn watching_refreshes_in_place() {
    let _session = Session::start();
    let mut command = Command::new(binary());
    command.args(["table", "--watch", "--pid", &std::process::id().to_string()]);
    let mut watching = Process::start(&mut command);
    until("there is a first look", || {
        watching.stdout().contains("STATUS")
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let id = cookie(&listener).to_string();
    until("a later one has what is new", || {
        let text = watching.stdout();
        // Each begins at the top and clears what is left of the last one.
        let looks: Vec<&str> = text.split("\x1b[H").collect();
        looks.len() > 2 && looks.last().is_some_and(|last| last.contains(&id))
    });
    drop(listener);
    until("and not what has gone", || {
        let text = watching.stdout();
        let last = text.rsplit("\x1b[H").next().unwrap_or_default();
        last.contains("STATUS") && !last.contains(&id)
    });
    watching.signal(Signal::SIGTERM);
    let _ended = watching.finish(PATIENCE);
}
