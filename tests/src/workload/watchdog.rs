//! A run that hangs says where.

use std::{
    fmt::Write as _,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// The progress of one end of one connection.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// The positions that the current step waits for: (send to, receive to).
    pub(crate) goal: Mutex<(u64, u64)>,
    pub(crate) done: AtomicU64,
}

static ALL: Mutex<Vec<Arc<Progress>>> = Mutex::new(Vec::new());

/// Registers one end of a connection.
pub(crate) fn watch(name: String) -> Arc<Progress> {
    let progress = Arc::new(Progress {
        name,
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        goal: Mutex::new((0, 0)),
        done: AtomicU64::new(0),
    });
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    // Churn opens thousands: forget those that have ended.
    if all.len() > 1024 {
        all.retain(|p| p.done.load(Relaxed) == 0);
    }
    all.push(Arc::clone(&progress));
    progress
}

/// Starts the clock of this process.
pub(crate) fn start(who: &'static str, seconds: u64) {
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(seconds));
        eprintln!(
            "workload: FAIL {who}: not done after {seconds} s\n{}",
            state()
        );
        std::process::exit(3);
    });
}

/// The other threads and the other side may wait for ever, so the first failure
/// ends them all.
pub(crate) fn or_exit<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("workload: FAIL {error:#}");
        std::process::exit(1)
    })
}

/// Every connection that has not ended, and the kernel's view of the sockets.
pub(crate) fn state() -> String {
    let mut text = String::new();
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    for p in all.iter().filter(|p| p.done.load(Relaxed) == 0).take(40) {
        let goal = p.goal.try_lock().map(|g| *g).unwrap_or_default();
        let (sent, received) = (p.sent.load(Relaxed), p.received.load(Relaxed));
        let _ = writeln!(
            text,
            "  {}: sent {sent} of {}, received {received} of {}",
            p.name, goal.0, goal.1
        );
    }
    if let Ok(out) = Command::new("ss")
        .args(["-tinmoe", "state", "connected"])
        .output()
    {
        text.extend(String::from_utf8_lossy(&out.stdout).chars().take(12_000));
    }
    text
}
