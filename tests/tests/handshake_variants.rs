//! Address families, early data, late accept, and connections that are over
//! as soon as they have begun.

use socketvirt_tests::{
    netns::Netns,
    run::{Mode, Outcome, Run, begun, workload},
    scaled,
    session::Session,
    summary::Summary,
};

fn exact(mode: Mode, args: &str) -> Summary {
    Run::new(mode, workload(&format!("streams {args}")))
        .success()
        .summary()
        .clone()
}

/// The same, and something was redirected.
fn streams(mode: Mode, args: &str) -> Summary {
    let summary = exact(mode, args);
    summary.accelerated();
    summary
}

/// Connections whose first bytes come with the handshake: they are not
/// enrolled there, and adopted when they live long enough.
fn early(mode: Mode, args: &str) {
    if mode == Mode::Adopt {
        streams(mode, args);
    } else {
        exact(mode, args);
    }
}

const ADOPTED: &str = "fast@200,stream:300K,pp:200";

#[test]
fn ipv6() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let summary = streams(
            mode,
            &format!("--family v6 --connections 4 --phases {ADOPTED}"),
        );
        assert_eq!(summary.count("/pairs"), 4, "{summary}");
    }
}

#[test]
fn mapped_addresses() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let summary = streams(
            mode,
            &format!("--family mapped --connections 4 --phases {ADOPTED}"),
        );
        assert_eq!(summary.count("/pairs"), 4, "{summary}");
    }
    // A mapped client of a listener that is IPv4.
    let args = "--listen 127.0.0.1:0 --connect [::ffff:127.0.0.1]:0 --connections 4 --phases fast,stream:100K";
    streams(Mode::Eager, args);
}

/// Bytes that travel with the SYN are the stack's; a redirect would overtake
/// them. Such a connection may be left alone at the handshake, but adopted
/// later it has to be.
#[test]
fn fast_open() {
    let _session = Session::beside_others();
    for (mode, io, total) in [
        (Mode::Eager, "level", 200),
        (Mode::Eager, "blocking --retry-eagain", 200),
        (Mode::Eager, "single", 200),
        (Mode::Adopt, "level", 8),
    ] {
        let netns = Netns::new("tfo");
        netns.sysctl("net.ipv4.tcp_fastopen=3");
        let phases = match (mode, io) {
            (Mode::Adopt, _) => ADOPTED,
            (_, "single") => "pp:20,up:100K",
            _ => "pp:5,stream:30K,pp:5",
        };
        let args = format!("--fastopen --io {io} --connections 4 {}", netns.both_ends());
        let args = format!("streams {args} --total {} --phases {phases}", scaled(total));
        let outcome = Run::new(mode, workload(&args)).success();
        let summary = outcome.summary();
        assert!(summary.counts("/errors").is_empty(), "errors: {summary}");
        assert!(
            mode == Mode::Eager || summary.fast_bytes() > 0,
            "nothing was redirected: {summary}"
        );
        let early = netstat(&netns, "TCPFastOpenPassive");
        assert!(
            early > 0,
            "no bytes travelled with a SYN, so nothing was tested"
        );
    }
}

/// A counter of the namespace's `TcpExt`.
fn netstat(netns: &Netns, name: &str) -> u64 {
    let text = netns.exec("cat /proc/net/netstat");
    let mut lines = text.lines().filter(|l| l.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let pair = names
        .split(' ')
        .zip(values.split(' '))
        .find(|(n, _)| *n == name);
    pair.expect("the counter").1.parse().expect("a number")
}

/// The server's end comes to be only with the first bytes.
#[test]
fn deferred_accept() {
    let _session = Session::beside_others();
    for (mode, io, total, phases) in [
        (Mode::Eager, "level", 200, "pp:5,stream:30K,pp:5"),
        (
            Mode::Eager,
            "blocking --retry-eagain",
            200,
            "pp:5,stream:30K,pp:5",
        ),
        (Mode::Adopt, "level", 8, ADOPTED),
    ] {
        let (netns, total) = (Netns::new("defer"), scaled(total));
        let args = format!(
            "--defer-accept {} --io {io} --connections 8",
            netns.both_ends()
        );
        early(mode, &format!("{args} --total {total} --phases {phases}"));
    }
}

#[test]
fn churn() {
    let _session = Session::beside_others();
    let total = scaled(3000);
    for io in ["level", "single", "edge-short"] {
        let netns = Netns::new("churn");
        let args = format!(
            "{} --io {io} --connections 32 --total {total}",
            netns.both_ends()
        );
        let args = format!("streams {args} --phases pp:3");
        let outcome = Run::new(Mode::Eager, begun(Mode::Eager, &args)).success();
        let summary = outcome.summary().accelerated();
        assert!(summary.count("/pairs") >= u64::from(total), "{summary}");
        counted(&outcome);
    }
    // Most are too short to prove anything.
    let netns = Netns::new("churn");
    let args = format!(
        "streams {} --connections 32 --total {total} --phases pp:3",
        netns.both_ends()
    );
    let outcome = Run::new(Mode::Adopt, workload(&args)).success();
    let left = outcome.summary().left("too_short");
    assert!(left > u64::from(total), "{}", outcome.summary());
    counted(&outcome);
}

/// No byte is counted that was not sent: most sockets have ended, and their memory is
/// somebody else's, when the agent looks.
#[track_caller]
fn counted(outcome: &Outcome) {
    let summary = outcome.summary();
    let bytes = summary
        .count("/bytes/fast")
        .checked_add(summary.count("/bytes/stack"));
    // The last moves of a workload that is looked at first are not in its report.
    let most = outcome.reported("sent") + (1 << 20);
    assert!(
        bytes.is_some_and(|bytes| bytes <= most),
        "{most}: {summary}"
    );
}

/// Connections come and go beside others that are adopted.
#[test]
fn churn_beside_lasting_connections() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let args = format!("--io edge --connections 16 --total {}", scaled(64));
        streams(mode, &format!("{args} --phases fast@60,stream:50K"));
    }
}

/// Options of a listener hold for what it accepts, from the first byte.
#[test]
fn options_of_the_listener() {
    let _session = Session::beside_others();
    for io in ["level", "blocking"] {
        let args = format!("streams --timestamp --io {io} --connections 4 --phases pp:300");
        let outcome = Run::new(Mode::Eager, begun(Mode::Eager, &args)).success();
        let summary = outcome.summary();
        assert!(summary.left("timestamp") >= 4, "{summary}");
    }
}
