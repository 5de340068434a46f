//! Pairs whose ends live in different network namespaces, with and without
//! address translation between them.

use std::{ffi::OsString, fs, process::Command};

use socketvirt_tests::{
    cgroup::Apart,
    live::Counters,
    netns::{Netns, bridged, routed, veth_pair},
    process::{PATIENCE, Process, must, until},
    run::{GO, Mode, Outcome, Run, shell, workload, workload_path},
    session::Session,
    table::{
        keep::{accelerate, end},
        kept_for,
    },
};

const PHASES: &str = "fast@200,stream:500K,pp:200,slowup:100K,pp:50@250,up:2M,pp:50";

fn streams(client: &Netns, server: &Netns, addresses: &str) -> Vec<OsString> {
    workload(&format!(
        "streams --connections 4 --client-netns {} --server-netns {} {addresses} --phases {PHASES}",
        client.name(),
        server.name()
    ))
}

#[track_caller]
fn four_pairs(outcome: &Outcome) {
    let summary = outcome.summary().accelerated();
    assert_eq!(summary.count("/pairs"), 4, "{summary}");
}

#[track_caller]
fn between(mode: Mode, client: &Netns, server: &Netns, addresses: &str) {
    four_pairs(&Run::new(mode, streams(client, server, addresses)).success());
}

#[test]
fn veth() {
    let _session = Session::beside_others();
    let (client, server) = veth_pair();
    for mode in Mode::ACCELERATED {
        between(mode, &client, &server, "--listen 10.99.0.2:7000");
        between(
            mode,
            &client,
            &server,
            "--family v6 --listen [fd99::2]:7000",
        );
    }
}

#[test]
fn bridge() {
    let _session = Session::beside_others();
    let (_router, [client, server]) = bridged();
    for mode in Mode::ACCELERATED {
        between(mode, &client, &server, "--listen 10.99.0.2:7000");
    }
}

/// The client asks for a virtual address and arrives from another address and
/// port than its own: no end knows the other's address.
#[test]
fn translated_both_ways() {
    let _session = Session::beside_others();
    let (client, router, server) = routed();
    router.nft(
        "table ip translate {
            chain before {
                type nat hook prerouting priority dstnat;
                ip daddr 10.96.0.1 tcp dport 80 dnat to 10.97.0.1:7000
            }
            chain after {
                type nat hook postrouting priority srcnat;
                ip daddr 10.97.0.1 tcp dport 7000 snat to 10.97.0.254:20000-30000
            }
        }",
    );
    // Nothing tells at the handshake that the client's peer is here, so even
    // in eager mode a scan enrols it.
    let addresses = "--listen 10.97.0.1:7000 --connect 10.96.0.1:80";
    for mode in Mode::ACCELERATED {
        four_pairs(&Run::new(mode, streams(&client, &server, addresses)).success());
    }
}

/// A router that forgets a connection without packets, and lets none through
/// of a connection that it does not know: what follows the fast path, here 2 MB
/// and the end, still has to arrive.
#[test]
fn routers_do_not_forget() {
    let _session = Session::beside_others();
    let (client, router, server) = routed();
    router.nft(
        "table ip stateful {
            chain before {
                type nat hook prerouting priority dstnat;
                ip daddr 10.96.0.1 tcp dport 80 dnat to 10.97.0.1:7000
            }
            chain forward {
                type filter hook forward priority filter; policy drop;
                ct state established accept
                ct state new tcp flags & (syn | ack) == syn accept
            }
        }",
    );
    router.sysctl("net.netfilter.nf_conntrack_tcp_timeout_established=4");
    router.sysctl("net.netfilter.nf_conntrack_tcp_loose=0");
    let addresses = "--listen 10.97.0.1:7000 --connect 10.96.0.1:80";
    let command = workload(&format!(
        "streams --client-netns {} --server-netns {} {addresses} --phases fast@200,pp:3000@500,up:2M,pp:50",
        client.name(),
        server.name()
    ));
    for mode in Mode::ALL {
        Run::new(mode, command.clone()).success();
    }
}

/// Where no packet gets through any more, a redirect stops too.
#[test]
fn a_cut_way_is_cut() {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        let netns = Netns::new("cut");
        let script = format!(
            "exec ip netns exec {} {} severed",
            netns.name(),
            workload_path()
        );
        let outcome = Run::new(mode, shell(&script)).success();
        let path = if mode == Mode::Plain { "stack" } else { "fast" };
        let told = format!(r#"{{"path":"{path}"}}"#);
        assert_eq!(outcome.finished.stdout.trim(), told);
    }
}

/// The same four numbers in two namespaces at once; bytes of the one must
/// never be seen in the other.
#[test]
fn identical_tuples() {
    let _session = Session::beside_others();
    let (a, b) = (Netns::new("twin"), Netns::new("twin"));
    for mode in Mode::ACCELERATED {
        let one = |netns: &Netns, seed: u32| {
            format!(
                "{} streams --seed {seed} --io edge --connections 8 --listen 127.0.0.1:7000 --client-port 20000 \
                 --client-netns {name} --server-netns {name} --phases pp:4@200!go,{PHASES}",
                workload_path(),
                name = netns.name()
            )
        };
        // Not at the same moment, when they could have the same id, too.
        let script = format!(
            "ready=$(mktemp -u); {} --ready-file $ready & first=$!\n\
             until [ -e $ready ]; do sleep 0.01; done; rm $ready\n\
             {} || exit 1; wait $first",
            one(&a, 1),
            one(&b, 2)
        );
        let outcome = Run::new(mode, shell(&script))
            .until(|seen| seen.adopted >= 16)
            .success();
        let summary = outcome.summary().accelerated();
        assert_eq!(summary.count("/pairs"), 16, "{summary}");
    }
}

/// Two connections that nothing but their packets tells apart, older than the
/// agent: nobody sees their handshakes. They end once it was `seen` what the agent
/// makes of them; gives what it said.
#[track_caller]
fn twins(more: &str, seen: impl Fn(&Process) -> bool) -> String {
    let (a, b) = (Netns::new("twin"), Netns::new("twin"));
    let apart = Apart::new();
    let folder = tempfile::tempdir().expect("a directory");
    let go = folder.path().join("go");
    let args = format!("twins --first {} --second {} {more}", a.name(), b.name());
    let mut command = Command::new(workload_path());
    command.args(args.split_whitespace()).env(GO, &go);
    let mut twins = Process::start(&mut command);
    until("the connections", || {
        [&a, &b].iter().all(|netns| established(netns) == 2)
    });
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    until("a look at the twins", || seen(&agent));
    fs::write(&go, "").expect("the sign to end");
    twins.finish(PATIENCE).success();
    end(agent)
}

/// Sockets of a namespace that are connected.
fn established(netns: &Netns) -> usize {
    let ss = [
        "netns",
        "exec",
        netns.name(),
        "ss",
        "-Htn",
        "state",
        "established",
    ];
    must("ip", ss).lines().count()
}

/// The same four numbers and the same sequence numbers: the same id. Both are
/// tried by the same walk, and one of them is adopted.
#[test]
fn identical_ids() {
    let _session = Session::start();
    let said = twins("--more 400", |agent| {
        Counters::of(agent.pid()).is_some_and(|seen| seen.adopted > 0)
    });
    assert!(said.contains("pairs      2 seen, 1 accelerated"), "{said}");
    assert!(said.contains("id_taken 2"), "{said}");
    // All have closed with a reset, which takes nothing from the sums but what was sent
    // since the last sweep, where the memory of a socket is another's by then.
    let messages = said.lines().find(|line| line.contains("messages"));
    let messages = messages.and_then(|line| line.split_whitespace().nth(3));
    let messages: u32 = messages.expect("a sum").parse().expect("a count");
    assert!(messages > 400, "{said}");
}

/// Of each of two such connections one end is seen: those two ends are no
/// pair.
#[test]
fn halves_of_two_connections() {
    let _session = Session::start();
    let said = twins("--halves", |_| kept_for("peer_not_proved") == 2);
    assert!(said.contains("peer_not_proved 2"), "{said}");
    assert!(said.contains(" 0 accelerated"), "{said}");
}

/// A container is known by the namespace of its processes, whichever
/// namespace the agent is in.
#[test]
fn inside_one_other_namespace() {
    let _session = Session::beside_others();
    let netns = Netns::new("lone");
    for mode in Mode::ACCELERATED {
        between(mode, &netns, &netns, "--listen 127.0.0.1:7000");
    }
}

/// A namespace ends with its users: the agent has it open for a walk alone.
#[test]
fn a_namespace_that_was_worked_in_is_let_go() {
    let _session = Session::start();
    let apart = Apart::new();
    let agent = accelerate(&format!("--mode adopt --cgroup {}", apart.path().display()));
    let own = netns_of("/proc/self/ns/net");
    for _ in 0..3 {
        let netns = Netns::new("short");
        let args = format!(
            "streams --client-netns {name} --server-netns {name} --listen 127.0.0.1:7000 --phases fast@200",
            name = netns.name()
        );
        let mut command = Command::new(workload_path());
        let mut traffic = Process::start(command.args(args.split_whitespace()));
        traffic.finish(PATIENCE).success();
        until("no namespace but the own one is open", || {
            let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("its descriptors");
            open.flatten().all(|entry| {
                let target = fs::read_link(entry.path()).unwrap_or_default();
                !target.to_string_lossy().starts_with("net:") || target.as_os_str() == own
            })
        });
    }
    end(agent);
}

fn netns_of(path: &str) -> OsString {
    fs::read_link(path).expect("a namespace").into()
}
