//! The table of `socketvirt run` notes how lives end, also those that do not by
//! close(2).

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use socketvirt_tests::{
    process::until,
    scans,
    session::Session,
    table::keep::{cookie, end, keep, life, reset, row},
};

#[test]
fn lives_that_end_otherwise() {
    let _session = Session::start();
    let keeper = keep(scans::ONCE);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let to = listener.local_addr().expect("own");
    let pair = || {
        let client = TcpStream::connect(to).expect("connect");
        (client, listener.accept().expect("accept").0)
    };
    let lived = |id: u64, expected: &[&str]| {
        until(&format!("{expected:?}"), || life(id) == expected);
    };
    // Both ends of data, the peer's first.
    let (client, server) = pair();
    client.shutdown(Shutdown::Write).expect("shutdown");
    lived(cookie(&server), &["CONNECTED", "DISCONNECTED"]);
    server.shutdown(Shutdown::Write).expect("shutdown");
    lived(cookie(&server), &["CONNECTED", "DISCONNECTED", "SHUTDOWN"]);

    let begun = ["UNCONNECTED", "CONNECTING", "CONNECTED"];
    // A reset, with the descriptor still open.
    let (client, server) = pair();
    reset(server);
    lived(cookie(&client), &[&begun[..], &["DISCONNECTED"]].concat());

    // Dissolved: connect(2) to no family.
    let (client, _server) = pair();
    // SAFETY: an address of zeros, as large as is said.
    let answer = unsafe {
        let nowhere: libc::sockaddr = std::mem::zeroed();
        let size = libc::socklen_t::try_from(size_of_val(&nowhere)).expect("small");
        libc::connect(client.as_raw_fd(), &raw const nowhere, size)
    };
    assert_eq!(answer, 0, "AF_UNSPEC");
    lived(cookie(&client), &[&begun[..], &["UNCONNECTED"]].concat());

    // Never accepted.
    let client = TcpStream::connect(to).expect("connect");
    let id = row(cookie(&client))["remote"]["id"].as_u64();
    let id = id.expect("the end that waits for accept(2)");
    reset(client);
    lived(id, &["CONNECTED", "TERMINATED"]);

    // A listener that is shut down keeps its port.
    let id = cookie(&listener);
    nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both)
        .expect("shutdown");
    lived(id, &["UNCONNECTED", "BOUND", "LISTENING", "BOUND"]);
    end(keeper);
}
