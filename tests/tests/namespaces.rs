//! Pairs whose ends live in different network namespaces, with and without
//! address translation between them.

use socketvirt_tests::{
    netns::{Netns, bridged, routed, veth_pair},
    run::{Mode, redirected, shell, workload, workload_path},
    session::Session,
    summary::Summary,
};

const PHASES: &str = "pp:500@200,stream:500K,pp:200,slowup:100K,pp:100@250,up:2M,pp:50";

fn between(mode: Mode, client: &Netns, server: &Netns, addresses: &str) -> Summary {
    let args = format!(
        "streams --connections 4 --client-netns {} --server-netns {} {addresses} --phases {PHASES}",
        client.name(),
        server.name()
    );
    let summary = redirected(mode, &workload(&args)).summary().clone();
    summary.accelerated();
    assert_eq!(summary.count("/pairs"), 4, "{summary}");
    summary
}

#[test]
fn veth() {
    let _session = Session::start();
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
    let _session = Session::start();
    let (_router, [client, server]) = bridged();
    for mode in Mode::ACCELERATED {
        between(mode, &client, &server, "--listen 10.99.0.2:7000");
    }
}

/// The client asks for a virtual address and arrives from another address and
/// port than its own: no end knows the other's address.
#[test]
fn translated_both_ways() {
    let _session = Session::start();
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
    for mode in Mode::ACCELERATED {
        between(
            mode,
            &client,
            &server,
            "--listen 10.97.0.1:7000 --connect 10.96.0.1:80",
        );
    }
}

/// The same four numbers in two namespaces at once; bytes of the one must
/// never be seen in the other.
#[test]
fn identical_tuples() {
    let _session = Session::start();
    let (a, b) = (Netns::new("twin"), Netns::new("twin"));
    for mode in Mode::ACCELERATED {
        let one = |netns: &Netns, seed: u32| {
            format!(
                "{} streams --seed {seed} --io edge --connections 8 --listen 127.0.0.1:7000 --client-port 20000 \
                 --client-netns {name} --server-netns {name} --phases {PHASES}",
                workload_path(),
                name = netns.name()
            )
        };
        let script = format!(
            "{} & first=$!; {} || exit 1; wait $first",
            one(&a, 1),
            one(&b, 2)
        );
        let outcome = redirected(mode, &shell(&script));
        let summary = outcome.summary().accelerated();
        assert_eq!(summary.count("/pairs"), 16, "{summary}");
    }
}

/// A container is known by the namespace of its processes, whichever
/// namespace the agent is in.
#[test]
fn inside_one_other_namespace() {
    let _session = Session::start();
    let netns = Netns::new("lone");
    for mode in Mode::ACCELERATED {
        between(mode, &netns, &netns, "--listen 127.0.0.1:7000");
    }
}
