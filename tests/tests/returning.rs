//! Busy connections that are adopted, released and adopted again, as fast as the
//! kernel lets them. Contents are checked; a psock with a wrong count of
//! references would keep its programs, which the session finds.

use socketvirt_tests::{
    drive::Drive,
    process::until,
    run::{Mode, Run, workload},
    scaled,
    session::Session,
    summary::Summary,
};

/// Goes on until the turns are done, whatever the pace of the machine.
const BUSY: &str = "streams --threads --io edge --connections 16 --tell-room \
                    --phases pp:200x256!go";

/// What the kernel has complained of since it started.
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

/// Adopts and releases busy connections so many times.
fn turns(turns: u32, apart: bool) -> Summary {
    let before = complaints();
    let queues = if apart { "--two-queues" } else { "" };
    let mut running = Run::new(Mode::Adopt, workload(&format!("{BUSY} {queues}"))).start();
    let mut drive = Drive::take_once_enrolled(&running);
    if apart {
        until("a release of all", || {
            drive.release(1);
            drive.is_empty()
        });
        drive.receive_apart();
    }
    for _ in 0..turns {
        drive.adopt(6);
        drive.release(3);
    }
    drop(drive);
    running.go();
    let outcome = running.finish();
    let summary = outcome.success().summary().clone();
    println!("{summary}");
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
    summary
}

#[test]
fn into_one_queue() {
    let _session = Session::start();
    let summary = turns(scaled(300), false);
    summary.accelerated();
    assert!(summary.count("/released") > 0, "{summary}");
}

#[test]
fn into_queues_of_their_own() {
    let _session = Session::start();
    let summary = turns(scaled(300), true);
    summary.accelerated();
    assert!(summary.count("/released") > 0, "{summary}");
}
