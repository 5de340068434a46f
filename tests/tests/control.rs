//! The control of a running agent: what it answers, and that nothing that comes in by its
//! socket brings it down.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    thread,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use socketvirt::agent::SOCKET;
use socketvirt_tests::{
    admin::{Talk, ask, ask_at, number, raw, status},
    cgroup::Apart,
    process::{PATIENCE, Process, until},
    run::{binary, errors, socketvirt},
    session::{self, Session},
    table::keep::{accelerate, end, keep},
};

#[test]
fn a_pause_reaches_live_and_new_connections_and_ends_with_resume() {
    let _session = Session::start();
    let apart = Apart::new();
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    assert_eq!(ask("GET", "/healthz", "").status, 200);
    let old = Talk::start(4);
    until("all are adopted", || number("enrolled") == 4);
    for _ in 0..2 {
        let paused = socketvirt(&["pause", "--json"]);
        assert!(paused.status.success(), "{paused:?}");
        let answer: Value = serde_json::from_slice(&paused.stdout).expect("JSON");
        assert_eq!(
            (&answer["paused"], &answer["enrolled"]),
            (&true.into(), &0.into())
        );
        assert_eq!(status()["accelerating"]["paused"], true);
        // Begun during the pause, they stay plain until it ends.
        let new = Talk::start(3);
        let fast = number("adopted");
        thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!((number("adopted"), number("enrolled")), (fast, 0));
        let text = socketvirt(&["status"]);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("paused, nothing is accelerated"), "{text}");
        let resumed = socketvirt(&["resume"]);
        assert!(errors(&resumed).contains("resumed"), "{resumed:?}");
        until("all are adopted, the new ones too", || {
            number("enrolled") == 7
        });
        new.end();
        until("the new ones are gone", || number("enrolled") == 4);
    }
    old.end();
    end(agent);
    assert!(!Path::new(SOCKET).exists());
}

#[test]
fn the_state_says_what_is_carried_and_what_is_kept() {
    let _session = Session::start();
    let apart = Apart::new();
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    let policy = "default = \"off\"\n[[rule]]\nname = \"all\"\naction = \"observe\"\naddress = \"127.0.0.1\"\n";
    let applied = ask("POST", "/v1/policy", policy);
    assert_eq!((applied.status, &applied.json()["rules"]), (200, &1.into()));
    let talk = Talk::start(2);
    let kept = || {
        let status = status();
        let kept = status["accelerating"]["kept"].as_array().expect("reasons");
        kept.first()
            .map(|kept| (kept["reason"].clone(), kept["sockets"].clone()))
    };
    until("the pairs are observed", || {
        kept() == Some(("observed".into(), 4.into()))
    });
    // What is wrong changes nothing, and says where.
    let wrong = ask("POST", "/v1/policy", "defualt = \"adopt\"\n");
    let message = wrong.json()["message"].to_string();
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert!(
        message.contains("request:1:1") && message.contains("`default`"),
        "{message}"
    );
    let in_force = ask("GET", "/v1/policy", "").json();
    assert_eq!(
        (&in_force["generation"], &in_force["text"]),
        (&1.into(), &policy.into())
    );
    assert_eq!(
        ask("POST", "/v1/policy", "default = \"adopt\"\n").status,
        200
    );
    until("the pairs are adopted", || number("enrolled") == 2);
    let bytes = || {
        status()["accelerating"]["bytes"]["fast"]
            .as_u64()
            .expect("a count")
    };
    until("bytes are redirected", || bytes() > 0);
    let scraped = ask("GET", "/metrics", "");
    assert!(
        scraped.head.contains("application/openmetrics-text"),
        "{scraped:?}"
    );
    assert!(scraped.body.ends_with("# EOF\n"), "{scraped:?}");
    for line in [
        "socketvirt_accelerating 1",
        "socketvirt_pairs_enrolled 2",
        "socketvirt_rule_pairs_enrolled{rule=\"default\",action=\"adopt\"} 2",
    ] {
        let has = scraped
            .body
            .lines()
            .any(|found| found.trim_end_matches(".0") == line);
        assert!(has, "{line}: {}", scraped.body);
    }
    // Counters do not go back, whatever ends.
    let (mut last, mut looks) = (0, 0);
    talk.end();
    until("the pairs have ended", || {
        let now = bytes();
        assert!(now >= last, "{now} after {last}");
        (last, looks) = (now, looks + 1);
        number("watched") == 0 && looks > 20
    });
    end(agent);
}

#[test]
fn what_was_sent_before_the_agent_came_is_not_counted() {
    const BEFORE: usize = 1 << 20;
    let _session = Session::start();
    let apart = Apart::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut client = TcpStream::connect(address).expect("a connection");
    let (mut server, _) = listener.accept().expect("its other end");
    let sender = thread::spawn(move || {
        client.write_all(&vec![7; BEFORE]).expect("bytes are sent");
        client
    });
    server
        .read_exact(&mut vec![0; BEFORE])
        .expect("bytes are read");
    let mut client = sender.join().expect("they were sent");
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    until("the pair is found", || number("watched") == 1);
    let counted = || {
        let bytes = &status()["accelerating"]["bytes"];
        let both = [&bytes["fast"], &bytes["stack"]].map(|path| path.as_u64().expect("a count"));
        both[0] + both[1]
    };
    until("what is sent now is counted", || {
        client.write_all(b"a").expect("a byte is sent");
        server.read_exact(&mut [0]).expect("it is read");
        counted() > 0
    });
    drop((client, server));
    until("the pair has ended", || number("watched") == 0);
    assert!(counted() < BEFORE as u64, "{} bytes", counted());
    end(agent);
}

#[test]
fn what_comes_in_by_the_socket_brings_nothing_down() {
    let _session = Session::start();
    let agent = accelerate("--mode adopt");
    let socket = Path::new(SOCKET);
    // Garbage, and requests that are cut off or too long.
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"\r\n\r\n\r\n",
        b"GET",
        &noise,
        long.as_bytes(),
        many.as_bytes(),
    ] {
        if let Ok(answer) = raw_half(socket, bytes) {
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{answer}"
            );
        }
    }
    let large = "x".repeat(5 << 20);
    for (method, path, body, status) in [
        ("POST", "/v1/policy", &*large, 413),
        ("POST", "/v1/policy", "\u{0}", 422),
        ("PUT", "/v1/policy", "", 405),
        ("GET", "/", "", 404),
        ("GET", "//v1/status", "", 404),
        ("GET", "/v1/../../etc/passwd", "", 404),
        ("GET", "/healthz?verbose", "", 200),
    ] {
        let answer = ask_at(socket, method, path, body);
        assert_eq!(answer.expect(path).status, status, "{method} {path}");
    }
    // Those of maps and programs come and go with what the agent does.
    let sockets = || {
        let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("files");
        let of = |file: fs::DirEntry| fs::read_link(file.path()).ok();
        let links = open.filter_map(|file| of(file.expect("a file")));
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let before = sockets();
    // Connections that never ask: more than there is room for, all open at once.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.max(12_000), most.max(12_000)).expect("a limit");
    let mut idle = Vec::new();
    for at in 0..10_000 {
        let mut stream =
            UnixStream::connect(socket).unwrap_or_else(|error| panic!("connection {at}: {error}"));
        // It may be closed already.
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost:");
        idle.push(stream);
        assert!(
            at % 500 != 0 || sockets() < before + 100,
            "after {at}: {}, {before} before",
            sockets()
        );
    }
    until("the further ones are closed", || sockets() < before + 100);
    until("somebody else is answered", || {
        ask_at(socket, "GET", "/healthz", "").is_ok_and(|answer| answer.status == 200)
    });
    drop(idle);
    assert_eq!(ask("GET", "/v1/status", "").status, 200);
    end(agent);
}

/// Sends bytes, and no more.
fn raw_half(socket: &Path, bytes: &[u8]) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let _ = stream.write_all(bytes);
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    match std::io::Read::read_to_string(&mut stream, &mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
        _ => Ok(answer),
    }
}

#[test]
fn the_log_is_text_or_json_and_changes_its_level() {
    let _session = Session::start();
    let agent = accelerate("--mode adopt --log-format json");
    let asked = |agent: &Process| agent.stderr().matches("was asked").count();
    assert_eq!(ask("GET", "/healthz", "").status, 200);
    assert_eq!(asked(&agent), 0);
    for (level, status) in [("debug", 200), ("verbose", 422), ("", 422), ("3", 422)] {
        let body = format!("{{\"level\": \"{level}\"}}");
        assert_eq!(ask("PUT", "/v1/log", &body).status, status, "{level}");
    }
    assert_eq!(ask("PUT", "/v1/log", "debug").status, 422);
    until("requests are logged", || asked(&agent) >= 4);
    assert_eq!(ask("PUT", "/v1/log", "{\"level\": \"info\"}").status, 200);
    let before = asked(&agent);
    assert_eq!(ask("GET", "/healthz", "").status, 200);
    let told = end(agent);
    assert_eq!(told.matches("was asked").count(), before);
    let lines = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    assert!(
        lines
            .iter()
            .all(|line| line["level"].is_string() && line["timestamp"].is_string())
    );
    let summary = lines.iter().find(|line| !line["summary"].is_null());
    assert_eq!(
        summary.expect("a summary")["summary"]["effective_mode"],
        "adopt"
    );
    // Nothing but errors.
    let mut command = Command::new(binary());
    command.args(["exec", "--log", "error", "--", "true"]);
    let mut quiet = Process::start(&mut command);
    session::started(quiet.pid());
    assert_eq!(quiet.finish(PATIENCE).success().stderr, "");
}

#[test]
fn an_agent_that_keeps_the_table_alone_says_so() {
    let _session = Session::start();
    let agent = keep("");
    assert_eq!(ask("GET", "/healthz", "").status, 200);
    assert_eq!(status()["accelerating"], Value::Null);
    assert_eq!(ask("POST", "/v1/pause", "").status, 409);
    let paused = socketvirt(&["pause"]);
    assert!(
        errors(&paused).contains("keeps the table alone"),
        "{paused:?}"
    );
    assert_eq!(paused.status.code(), Some(1));
    end(agent);
    let without = keep("--no-admin");
    assert!(!Path::new(SOCKET).exists());
    assert!(raw(Path::new(SOCKET), b"").is_err());
    end(without);
}
