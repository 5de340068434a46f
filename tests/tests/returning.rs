//! Busy connections that are adopted, released and adopted again, as fast as the
//! kernel lets them. Contents are checked; a psock with a wrong count of
//! references would keep its programs, which the session finds.

use socketvirt_tests::{
    drive::Drive,
    run::{Mode, Run, workload},
    scaled,
    session::Session,
};

/// At work until it is told to end.
const BUSY: &str = "--deadline 1400 streams --threads --io edge --connections 16 --tell-room \
                    --phases pp:1x256!end";

/// Returns the kernel's complaints since it started.
fn complaints() -> Vec<String> {
    const READ_ALL: libc::c_int = 3;
    let grave = ["WARNING", "BUG", "refcount_t", "Oops", "blocked for"];
    let mut log = vec![0_u8; 1 << 20];
    let room = libc::c_int::try_from(log.len()).expect("a megabyte");
    // SAFETY: the pointer and the length describe the local buffer.
    let length = unsafe { libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), room) };
    log.truncate(usize::try_from(length).expect("the kernel's log"));
    String::from_utf8_lossy(&log)
        .lines()
        .filter(|line| grave.iter().any(|word| line.contains(word)))
        .map(ToOwned::to_owned)
        .collect()
}

/// Adopts and releases busy connections so many times, each time so many sockets
/// or more.
fn turns(turns: u32, sockets: usize, apart: bool) {
    let before = complaints();
    let queues = if apart { "--two-queues" } else { "" };
    let mut running = Run::new(Mode::Adopt, workload(&format!("{BUSY} {queues}"))).start();
    let mut drive = Drive::take_once_enrolled(&running);
    if apart {
        drive.release();
        drive.receive_apart();
    }
    for _ in 0..turns {
        drive.adopt(sockets);
        drive.release();
    }
    drop(drive);
    running.end();
    let outcome = running.finish();
    let summary = outcome.success().summary();
    // For who reads of the tests alone what they say.
    println!(
        "seen: {}, {} enrolments, {} releases",
        if apart {
            "tx_only"
        } else {
            summary.word("/receive_mode")
        },
        summary.count("/adopted"),
        summary.count("/released")
    );
    assert_eq!(complaints(), before);
    // A pair is released once, whether both of its ends were enrolled or one.
    let least = u64::from(turns) * sockets as u64 / 2;
    assert!(summary.count("/released") >= least, "{summary}");
}

#[test]
fn into_one_queue() {
    let _session = Session::start();
    turns(scaled(300), 8, false);
}

#[test]
fn into_queues_of_their_own() {
    let _session = Session::start();
    // These are adopted only while nothing of them is unread.
    turns(scaled(100), 4, true);
}
