//! Trace points that each receive call of the host passes are there only while
//! they are needed.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use nix::{sys::stat::Mode as Permissions, unistd::mkfifo};
use socketvirt_tests::{
    admin::{Talk, number},
    cgroup::Apart,
    live::recorded,
    process::until,
    run::{Mode, Run, shell, workload_path},
    session::Session,
    table::keep::{accelerate, end},
};
use test_support::leftovers::Trace;

/// True when the agent has its home, with or without the link that shows it receive
/// calls: each call passes one trace point, on kernels that let no program into their
/// functions another one.
fn watches(session: &Session, calls: bool) -> bool {
    let left = session.left();
    let mut homes = left.iter().filter_map(Trace::path);
    homes.any(|home| {
        let is_there = |name: &str| home.join(name).exists();
        let reads = is_there("sv_read");
        let link = if reads { "link_splice" } else { "link_receive" };
        is_there("link_exec")
            && is_there(link) == calls
            // Both are there until the self-test has passed.
            && !(reads && is_there("link_receive"))
    })
}

/// They leave an agent that has no pair, and come back before the next is
/// adopted: its readers are known.
#[test]
fn receive_calls_are_watched_before_a_pair_is_adopted() {
    let session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let begin = folder.path().join("begin");
    mkfifo(&begin, Permissions::S_IRWXU).expect("a FIFO");
    let script = format!(
        "read word < {}; \
         exec {} streams --io edge --phases 'fast@200,pp:1@200!go,pp:20@200'",
        begin.display(),
        workload_path(),
    );
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    until("calls are watched", || watches(&session, true));
    until("no call is watched", || watches(&session, false));
    fs::write(&begin, "go\n").expect("the file to begin");
    running.until(|seen| seen.adopted > 0);
    assert!(watches(&session, true));
    running.go();
    let outcome = running.finish();
    outcome.success();
    let summary = outcome.summary().accelerated();
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
}

/// They leave an agent whose pairs are at work, but none could be adopted.
#[test]
fn receive_calls_are_not_watched_for_pairs_that_are_kept() {
    let session = Session::start();
    let args = "streams --io blocking --phases 'pp:1@200!go,pp:20@200'";
    let script = format!("exec {} {args}", workload_path());
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    until("calls are watched", || watches(&session, true));
    until("no call is watched", || watches(&session, false));
    running.until(|seen| seen.pairs > 0);
    assert!(watches(&session, false));
    running.go();
    let outcome = running.finish();
    outcome.success().left_alone("blocking");
}

/// Those of a pair that something lasting keeps on the stack cost it nothing, though
/// another pair needs its own. They are recorded again before it is adopted.
#[test]
fn receive_calls_of_a_kept_pair_are_not_recorded() {
    let _session = Session::start();
    let apart = Apart::new();
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    let other = Talk::start(1);
    until("the other one is adopted", || number("enrolled") == 1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).expect("a connection");
    let (server, _) = listener.accept().expect("its other end");
    until("only the other one needs its calls", || {
        exchange(&client, &server);
        number("watched") == 2 && recorded(agent.pid()) == 2
    });
    for end in [&client, &server] {
        end.set_nonblocking(true).expect("O_NONBLOCK");
    }
    until("both are adopted", || {
        exchange(&client, &server);
        number("enrolled") == 2
    });
    assert_eq!(recorded(agent.pid()), 4);
    drop((client, server));
    other.end();
    until("all have ended", || number("watched") == 0);
    assert_eq!(recorded(agent.pid()), 0);
    end(agent);
}

/// A byte each way, whether they block or not.
fn exchange(client: &TcpStream, server: &TcpStream) {
    for (mut from, mut to) in [(client, server), (server, client)] {
        from.write_all(b"a").expect("a byte is sent");
        until("it is read", || match to.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            read => read.expect("a byte is read") == 1,
        });
    }
}
