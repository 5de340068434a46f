//! Ends of connections with bytes under way lose none of them.

use socketvirt_tests::{
    netns::Netns,
    run::{Mode, Run, begun, workload},
    scaled,
    session::Session,
};

/// Ends at a random moment of a stream: the script's last bytes are under way
/// when one side closes or shuts down.
#[test]
fn close_and_half_close_with_data_under_way() {
    let _session = Session::beside_others();
    for (mode, io) in [
        (Mode::Eager, "level"),
        (Mode::Eager, "edge"),
        (Mode::Eager, "blocking --retry-eagain"),
        (Mode::Eager, "edge-short"),
    ] {
        for phases in [
            "pp:5,stream:50K",
            "pp:5,up:300K",
            "pp:5,down:300K",
            "slowup:30K",
        ] {
            let netns = Netns::new("short");
            let total = scaled(100);
            let args = format!(
                "streams {} --io {io} --connections 16 --total {total} --phases {phases}",
                netns.both_ends()
            );
            Run::new(mode, begun(mode, &args))
                .success()
                .summary()
                .accelerated();
        }
    }
}

/// The same after adoption.
#[test]
fn adopted_connections_close_with_data_under_way() {
    let _session = Session::beside_others();
    for phases in [
        "fast@100,stream:50K",
        "fast@100,up:300K",
        "fast@100,slowdown:30K",
    ] {
        let args = format!("streams --io level --connections 32 --phases {phases}");
        Run::new(Mode::Adopt, workload(&args))
            .success()
            .summary()
            .accelerated();
    }
}
