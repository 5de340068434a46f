//! Every byte once, in order and unchanged, while connections change between
//! round trips, streams both ways and bulk, and with them between the stack
//! and the fast path.

use socketvirt_tests::{
    run::{Mode, Run, begun, beside_adopted, workload, workload_path},
    scaled,
    session::Session,
    summary::Summary,
};

/// Round trips long enough to be adopted, then everything that makes a path
/// change in mid-stream, and round trips again.
const CHANGING: &str = "fast@200,pp:100,stream:1M,pp:200,slowup:300K,pp:50@250,up:4M,down:4M,pp:50@250,slowdown:300K,\
                        pipe:50x16,rpp:100,stream:2M,idle:200,pp:50@250";

fn streams(mode: Mode, args: &str) -> Summary {
    Run::new(mode, begun(mode, &format!("streams {args}")))
        .success()
        .summary()
        .clone()
}

fn changing(mode: Mode, io: &str, connections: u32) -> Summary {
    let args = format!(
        "--io {io} --connections {} --phases {CHANGING}",
        scaled(connections)
    );
    streams(mode, &args)
}

/// The other tests rely on this: the program finds nothing wrong with TCP.
#[test]
fn plain_tcp_passes() {
    let _session = Session::beside_others();
    for io in ["blocking", "level", "edge", "edge-short"] {
        let args = format!("streams --io {io} --connections 8 --phases {CHANGING}");
        Run::new(Mode::Plain, workload(&args)).success();
    }
}

#[test]
fn adopted_level_triggered() {
    let _session = Session::beside_others();
    let summary = changing(Mode::Adopt, "level", 4);
    summary.accelerated();
    assert!(summary.count("/adopted") >= 4, "{summary}");
}

#[test]
fn adopted_edge_triggered() {
    let _session = Session::beside_others();
    changing(Mode::Adopt, "edge", 4).accelerated();
}

#[test]
fn adopted_edge_triggered_short_reads() {
    let _session = Session::beside_others();
    changing(Mode::Adopt, "edge-short", 4).accelerated();
}

#[test]
fn eager_level_triggered() {
    let _session = Session::beside_others();
    let summary = changing(Mode::Eager, "level", 4);
    summary.accelerated();
    // Bulk fills the receiver's queue, so the path has to change both ways.
    assert!(summary.count("/switches/to_fast") > 0, "{summary}");
    assert!(summary.count("/switches/to_stack") > 0, "{summary}");
}

#[test]
fn eager_edge_triggered() {
    let _session = Session::beside_others();
    changing(Mode::Eager, "edge", 4).accelerated();
}

#[test]
fn eager_edge_triggered_short_reads() {
    let _session = Session::beside_others();
    changing(Mode::Eager, "edge-short", 4).accelerated();
}

/// A blocking receive of an enrolled socket answers EAGAIN when another thread
/// that sends on the same socket is woken: the kernel's doing, so such programs
/// are not for eager mode. Their bytes have to be exact all the same.
#[test]
fn eager_blocking_with_two_threads() {
    let _session = Session::beside_others();
    changing(Mode::Eager, "blocking --retry-eagain", 4).accelerated();
}

#[test]
fn eager_blocking_in_turn() {
    let _session = Session::beside_others();
    let args = "--io single --connections 4 --phases pp:3000,rpp:500,pipe:50x16,up:4M,pp:500,down:4M,pp:500";
    streams(Mode::Eager, args).accelerated();
}

/// A reader that sleeps in the kernel would never see redirected bytes.
#[test]
fn blocking_sockets_are_not_adopted() {
    let _session = Session::beside_others();
    let both = ["blocking", "single"].map(|io| {
        let phases = "pp:1@200!go,up:1M,pp:500";
        let args = format!("streams --io {io} --connections 2 --phases {phases}");
        format!("{} {args}", workload_path())
    });
    let outcome = Run::new(Mode::Adopt, beside_adopted(&both.join(" && "))).success();
    outcome.left_alone("blocking");
}

#[test]
fn two_ends_in_one_process() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let args = format!("--threads --connections 8 --phases {CHANGING}");
        streams(mode, &args).accelerated();
    }
}

#[test]
fn sixty_four_connections() {
    let _session = Session::beside_others();
    let phases = "fast@100,stream:300K,pp:50,slowup:50K,pp:50@100,up:1M,stream:200K,pp:50@100";
    for mode in Mode::ACCELERATED {
        let args = format!("--io edge --connections 64 --seed 2 --phases {phases}");
        streams(mode, &args).accelerated();
    }
}

#[test]
fn two_hundred_and_fifty_six_connections() {
    let _session = Session::beside_others();
    let phases = "fast@40,stream:100K,pp:40,slowdown:20K,stream:50K";
    for (mode, io) in [
        (Mode::Adopt, "level"),
        (Mode::Eager, "edge"),
        (Mode::Eager, "blocking --retry-eagain"),
    ] {
        let args = format!("--io {io} --connections 256 --seed 3 --phases {phases}");
        streams(mode, &args).accelerated();
    }
}

/// Small buffers fill at once, so the sender changes to the stack and back
/// all the time.
#[test]
fn small_buffers() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        for io in ["level", "edge-short"] {
            let args = format!(
                "--io {io} --sndbuf 16384 --rcvbuf 8192 --connections 8 --seed 4 \
                 --phases fast@200,stream:1M,slowup:300K,pp:200x100,stream:1M,pipe:200x32"
            );
            streams(mode, &args).accelerated();
        }
    }
}

/// Many seeds of short scripts: the changes fall on other bytes each time.
#[test]
fn many_seeds() {
    let _session = Session::beside_others();
    for seed in 0..scaled(4) {
        let args = format!(
            "--io level --connections 16 --seed {} --phases pp:20,stream:200K,pp:20,slowup:50K,rpp:10,stream:500K,pipe:10x10",
            seed + 100
        );
        streams(Mode::Eager, &args).accelerated();
    }
}

/// Adopted, released for bulk, adopted again.
#[test]
fn released_for_bulk_and_adopted_again() {
    let _session = Session::beside_others();
    let args = "--io level --connections 4 --seed 5 \
                --phases fast@200,slowup:256K!left,fast@200,slowdown:256K!left,fast@200";
    let summary = streams(Mode::Adopt, args);
    summary.accelerated();
    assert!(summary.count("/adopted") >= 12, "{summary}");
    assert!(summary.count("/released") >= 8, "{summary}");
}

/// Without a pause between requests there is nearly always a message under way
/// when a scan looks.
#[test]
fn busy_connections_are_adopted() {
    let _session = Session::beside_others();
    for connections in [1, 8] {
        let args = format!("--io edge --connections {connections} --phases pp:64x128!fast");
        streams(Mode::Adopt, &args).accelerated();
    }
}

#[test]
fn idle_connections_wake_up_exact() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let args =
            "--io edge --connections 16 --phases fast@150,idle:1500,stream:10K,idle:500,pp:50@150";
        streams(mode, args).accelerated();
    }
}
