//! Bytes that a sender sends again, in one packet with new ones, are read once.
//!
//! The unified receive mode takes packets out of TCP without a look at their
//! sequence numbers (`tcp_read_skb`).

use socketvirt_tests::{
    run::{Mode, Run, begun},
    session::Session,
};

/// The workload fails when the reader gets anything but the new bytes. The
/// connection must have been redirected at the moment of the packet.
fn resend(mode: Mode, args: &str) {
    // At the handshake, only once the program was inspected.
    let outcome = Run::new(mode, begun(mode, &format!("resend {args}"))).success();
    if mode == Mode::Plain {
        return;
    }
    outcome.summary().accelerated();
    assert_eq!(outcome.finished.stdout.trim(), r#"{"path":"fast"}"#);
}

#[test]
fn a_few_bytes_come_again() {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        resend(mode, "--overlap 10 --new 30");
    }
}

/// About as much as one call of the kernel takes away.
#[test]
fn a_page_comes_again() {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        resend(mode, "--overlap 4095 --new 1000");
    }
}

/// Nothing is new but the end of the stream.
#[test]
fn the_end_comes_with_old_bytes() {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        resend(mode, "--overlap 400 --new 0");
    }
}

/// More than one call of the kernel takes away (4095 bytes), up to what half a
/// window lets into one packet.
#[test]
fn large_packets_come_again() {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        for sizes in [
            "--overlap 4096 --new 200",
            "--overlap 9000 --new 4000",
            "--overlap 30000 --new 2000",
        ] {
            resend(mode, sizes);
        }
    }
}
