//! Streams in one direction: fast between namespaces in eager mode, on the stack within
//! one, and every byte as it was sent either way.

use socketvirt_tests::{
    netns::{bridged, veth_pair},
    run::{Mode, Run, begun, beside_adopted, workload_path},
    session::Session,
};

/// A stream that comes again until all of it was redirected. Then readers that fall
/// behind, so that the path changes, and streams the other way.
const ONE_WAY: &str = "told:1M!fast,slowup:400K,up:8M,told:1M!fast,slowdown:400K,down:8M,pp:50";

/// A blocking socket stays enrolled. Nothing in it is small enough for an exchange
/// before the stream is fast, and no message fits into a buffer of 128 KiB twice.
#[test]
fn between_namespaces_they_are_fast() {
    let _session = Session::beside_others();
    let (client, server) = veth_pair();
    let args = format!(
        "streams --io single --connections 2 --client-netns {} --server-netns {} \
         --listen 10.99.0.2:7000 --phases {ONE_WAY}",
        client.name(),
        server.name()
    );
    let outcome = Run::new(Mode::Eager, begun(Mode::Eager, &args)).success();
    outcome.summary().accelerated();
}

/// From the handshake on, in both modes of a socket.
#[test]
fn over_a_bridge_they_are_exact_in_eager_mode() {
    let _session = Session::beside_others();
    let (_router, [client, server]) = bridged();
    for io in ["level", "single"] {
        let args = format!(
            "streams --io {io} --connections 4 --client-netns {} --server-netns {} \
             --listen 10.99.0.2:7000 --phases fast,slowup:400K,up:16M,slowdown:400K,down:16M,pp:50",
            client.name(),
            server.name()
        );
        Run::new(Mode::Eager, begun(Mode::Eager, &args))
            .success()
            .summary()
            .accelerated();
    }
}

#[test]
fn within_a_namespace_they_stay_on_the_stack() {
    let _session = Session::beside_others();
    let stream = format!(
        "{} streams --io level --connections 2 --phases told:1M!go,told:4M",
        workload_path()
    );
    let outcome = Run::new(Mode::Adopt, beside_adopted(&stream)).success();
    outcome.left_alone("bulk");
}
