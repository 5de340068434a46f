//! `socketvirt run --mode`: the agent of a host accelerates, the table shows
//! it, and who follows is told.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    process::Command,
};

use nix::sys::{
    signal::Signal,
    socket::{MsgFlags, send},
};
use serde_json::{Value, json};
use socketvirt_tests::{
    cgroup::Apart,
    process::{Process, must, until},
    run::binary,
    session::Session,
    table::{
        keep::{PATIENCE, PINS, accelerate, cookie, end, events, follow, keep, row},
        table, whole,
    },
};

/// A connection as the servers have it that adoption is for.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("own")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        for end in [&client, &server] {
            end.set_nonblocking(true).expect("O_NONBLOCK");
            end.set_nodelay(true).expect("TCP_NODELAY");
        }
        Self { client, server }
    }

    fn ids(&self) -> (u64, u64) {
        (cookie(&self.client), cookie(&self.server))
    }

    fn port(&self) -> u16 {
        self.server.local_addr().expect("own").port()
    }

    /// Requests and responses, whose bytes are checked.
    fn talk(&mut self, turns: u32) {
        for turn in 0..turns {
            let request = turn.to_ne_bytes();
            pass(&mut self.client, &mut self.server, request);
            pass(&mut self.server, &mut self.client, request);
        }
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: [u8; 4]) {
    from.write_all(&bytes).expect("write");
    let (mut got, mut have) = ([0; 4], 0);
    while have < got.len() {
        match to.read(&mut got[have..]) {
            Ok(0) => panic!("the connection has ended"),
            Ok(count) => have += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("read: {error}"),
        }
    }
    assert_eq!(got, bytes);
}

/// The row in the map, as `bpftool` prints it.
fn dumped(id: u64) -> Option<Value> {
    let dump = must("bpftool", ["-j", "map", "dump", "pinned", PINS]);
    let dump: Value = serde_json::from_str(&dump).expect("JSON");
    let all = dump.as_array().expect("entries");
    all.iter()
        .map(|entry| &entry["formatted"]["value"])
        .find(|row| row["id"] == id)
        .cloned()
}

/// True when there is an event of this name between these two.
fn told(all: &[Value], name: &str, (one, other): (u64, u64), reason: Option<&str>) -> bool {
    all.iter().any(|event| {
        let ends = (event["id"].as_u64(), event["peer"].as_u64());
        event["event"] == name
            && (ends == (Some(one), Some(other)) || ends == (Some(other), Some(one)))
            && reason.is_none_or(|reason| event["reason"] == reason)
    })
}

/// `table --why` of a fast pair, and of one that is kept off by urgent data.
#[track_caller]
fn reasons_are_counted(fast: &Pair, urgent: &Pair) {
    let of_fast = whole(&format!("--why --port {}", fast.port()));
    assert_eq!(of_fast["fast"], 2, "{of_fast}");
    assert_eq!(of_fast["reasons"], json!([]));

    let port = urgent.port();
    let of_urgent = whole(&format!("--why --port {port}"));
    assert_eq!(of_urgent["fast"], 0, "{of_urgent}");
    let [group] = &of_urgent["reasons"].as_array().expect("reasons")[..] else {
        panic!("one reason for both ends: {of_urgent}");
    };
    assert_eq!(group["reason"], "urgent");
    assert_eq!(group["sockets"], 2);
    assert!(group["stack_bytes"].as_u64() >= Some(80), "{group}");
    let own = fs::read_to_string("/proc/self/comm").expect("the own name");
    assert_eq!(group["programs"][0]["command"], own.trim_end());

    let args = format!("table --why --port {port}");
    let text = must(binary().to_str().expect("a path"), args.split(' '));
    for part in [
        "2 ends of TCP connections: 0 on the fast path, 2 on the stack",
        "urgent: 2 ends, ",
        "What would change it: Send no urgent data.",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_host_is_accelerated_and_told_about() {
    let session = Session::start();
    let _apart = Apart::new();
    let agent = accelerate("--mode adopt");
    let mut follower = follow();
    let mut pair = Pair::new();
    let (near, far) = pair.ids();
    until("the pair is fast", || {
        pair.talk(500);
        let shown = row(near);
        shown["path"]["path"] == "fast" && shown["path"]["enrolment"] == "adopted"
    });
    until("the map says so too", || {
        pair.talk(500);
        dumped(near).is_some_and(|row| {
            row["send"]["path"] == "Fast"
                && row["send"]["enrolment"] == "Adopted"
                && row["send"]["traffic"]["fast_messages"].as_u64() > Some(0)
                && row["remote"]["id"] == far
        })
    });

    // Urgent data keeps a socket off for good.
    let mut urgent = Pair::new();
    let ends = urgent.ids();
    urgent.talk(10);
    send(urgent.client.as_raw_fd(), b"!", MsgFlags::MSG_OOB).expect("MSG_OOB");
    // As long as it is not read, which would forget it.
    until("the other pair is kept", || {
        let shown = row(ends.1);
        shown["path"]["path"] == "kept" && shown["path"]["reason"] == "urgent"
    });
    until("the map says so too", || {
        dumped(ends.1)
            .is_some_and(|row| row["send"]["path"] == "Kept" && row["send"]["reason"] == "Urgent")
    });

    reasons_are_counted(&pair, &urgent);

    let report = end(agent);
    assert!(!report.contains("in use and stay"), "{report}");
    let mut seen = Vec::new();
    until("everything is told", || {
        seen = events(&follower);
        told(&seen, "pair", (near, far), None)
            && told(&seen, "adopt", (near, far), None)
            && told(&seen, "keep", ends, Some("urgent"))
            && told(&seen, "release", (near, far), Some("draining"))
    });
    assert!(!told(&seen, "adopt", ends, None), "{seen:#?}");
    follower.signal(Signal::SIGINT);
    follower.finish(PATIENCE).success();
    // Plain TCP again, and nothing left.
    pair.talk(100);
    session.clean();
}

/// Redirected bytes count where rows are chosen and put in order.
#[test]
fn fast_rows_are_found_and_put_in_order() {
    let session = Session::start();
    let _apart = Apart::new();
    let agent = accelerate("--mode adopt");
    let mut pair = Pair::new();
    let (near, far) = pair.ids();
    let count = |row: &Value, pointer: &str| row.pointer(pointer).and_then(Value::as_u64);
    let sent = |id: u64| {
        let row = row(id);
        let by = |path| count(&row, path).expect("a connection");
        (by("/path/fast_bytes"), by("/path/stack_bytes"))
    };
    until("much is redirected", || {
        pair.talk(500);
        sent(near).0 > 4000
    });
    let ids = |args: &str| -> Vec<u64> {
        let rows = table(args);
        rows.iter().filter_map(|row| count(row, "/id")).collect()
    };
    let fast = ids("--path fast");
    assert!(fast.contains(&near) && fast.contains(&far), "{fast:?}");
    let stack = ids("--path stack");
    assert!(!stack.contains(&near) && !stack.contains(&far), "{stack:?}");

    // More by the stack than the pair, less in all; less unread.
    let mut plain = Pair::new();
    let (fast, stack) = sent(near);
    let bytes = usize::try_from(stack + fast / 2).expect("few bytes");
    plain.client.write_all(&vec![0; bytes]).expect("write");
    let behind = |sort: &str, one: u64, other: u64| {
        let all = ids(&format!("--sort {sort}"));
        let place = |id: u64| all.iter().position(|other| *other == id).expect("a row");
        assert!(place(one) < place(other), "--sort {sort}");
    };
    behind("bytes", near, plain.ids().0);
    until("all has arrived", || {
        count(&row(plain.ids().1), "/receive_queue/bytes") == Some(bytes as u64)
    });
    pair.client.write_all(&vec![0; bytes + 1]).expect("write");
    let queued = row(far)["receive_queue"].clone();
    assert_eq!(queued["redirected"], bytes + 1, "{queued:#}");
    behind("queue", far, plain.ids().1);
    drop((pair, plain));
    end(agent);
    session.clean();
}

/// Whoever comes after a killed agent releases what is still open.
#[test]
fn what_a_killed_agent_leaves_is_released() {
    let session = Session::start();
    let _apart = Apart::new();
    let mut agent = accelerate("--mode adopt");
    let mut pair = Pair::new();
    let (near, far) = pair.ids();
    until("the pair is fast", || {
        pair.talk(500);
        row(near)["path"]["path"] == "fast" && row(far)["path"]["path"] == "fast"
    });
    agent.signal(Signal::SIGKILL);
    agent.wait(PATIENCE).expect("its end");
    assert!(!session.left().is_empty(), "nothing is left to be cleared");
    pair.talk(500);
    // The next agent takes over what is there, and takes it away when it ends.
    end(accelerate("--mode adopt"));
    session.clean();
    pair.talk(500);
}

#[test]
fn eager_pairs_are_told_about() {
    let session = Session::start();
    let _apart = Apart::new();
    let agent = accelerate("--mode eager");
    let mut follower = follow();
    let mut pair = Pair::new();
    let ends = pair.ids();
    pair.talk(100);
    assert_eq!(row(ends.0)["path"]["enrolment"], "eager");
    until("the pair is told", || {
        let seen = events(&follower);
        told(&seen, "pair", ends, None) && told(&seen, "adopt", ends, None)
    });
    end(agent);
    follower.signal(Signal::SIGINT);
    follower.finish(PATIENCE).success();
    pair.talk(100);
    session.clean();
}

/// Any number may follow; each sees everything, also when the one goes that
/// kept the table for all.
#[test]
fn two_followers_see_the_same() {
    let _session = Session::start();
    let mut first = follow();
    let mut second = follow();
    let pair = Pair::new();
    let (near, far) = pair.ids();
    drop(pair);
    let life = |id: u64, all: &[Value]| -> Vec<String> {
        all.iter()
            .filter(|event| event["id"] == id && event["event"] == "status")
            .map(|event| event["to"].as_str().expect("a status").to_owned())
            .collect()
    };
    for follower in [&first, &second] {
        until("a life is told", || {
            let seen = events(follower);
            [near, far].iter().all(|id| {
                life(*id, &seen)
                    .last()
                    .is_some_and(|last| last == "TERMINATED")
            })
        });
        let seen = events(follower);
        assert_eq!(
            life(near, &seen)[..3],
            ["UNCONNECTED", "CONNECTING", "CONNECTED"]
        );
        assert!(told(&seen, "pair", (near, far), None), "{seen:#?}");
    }
    first.signal(Signal::SIGINT);
    first.finish(PATIENCE).success();
    until("the second goes on", || {
        let id = cookie(&Pair::new().client);
        events(&second).iter().any(|event| event["id"] == id)
    });
    second.signal(Signal::SIGINT);
    second.finish(PATIENCE).success();
}

/// Where nothing shall be accelerated, nothing is.
#[test]
fn a_kept_table_alone_accelerates_nothing() {
    let _session = Session::start();
    let agent = keep("");
    let mut pair = Pair::new();
    let (near, far) = pair.ids();
    until("the pair is in the map", || {
        pair.talk(500);
        dumped(near).is_some_and(|row| row["remote"]["id"] == far)
    });
    let shown = row(near);
    assert_eq!(shown["path"]["enrolment"], "none", "{shown:#}");
    assert_eq!(shown["path"]["path"], "stack");
    let report = end(agent);
    assert!(!report.contains("accelerat"), "{report}");
}

/// Records of another build mean something else.
#[test]
fn what_another_build_has_pinned_is_left_alone() {
    let _session = Session::start();
    let _apart = Apart::new();
    let agent = accelerate("--mode adopt");
    let known = whole("");
    assert_eq!(known["other_builds"], serde_json::json!([]), "{known}");
    let agents = known["agents"].as_array().expect("agents").clone();
    assert_eq!(agents.len(), 2, "{known}");

    let pinned = must("find", ["/sys/fs/bpf/socketvirt", "-name", "sv_build"]);
    assert_eq!(pinned.lines().count(), agents.len(), "{pinned}");
    for map in pinned.lines() {
        let entry = format!("map update pinned {map} key 0 0 0 0 value 1 0 0 0 0 0 0 0");
        must("bpftool", entry.split(' '));
    }
    let known = whole("");
    assert_eq!(known["agents"], serde_json::json!([]), "{known}");
    assert_eq!(known["other_builds"].as_array(), Some(&agents), "{known}");
    let mut command = Command::new(binary());
    let mut refused = Process::start(command.args(["events", "--follow"]));
    let refused = refused.finish(PATIENCE);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.report());
    assert!(
        refused.stderr.contains("another build"),
        "{}",
        refused.stderr
    );
    end(agent);
}
