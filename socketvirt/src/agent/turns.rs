//! On which CPU a pass runs: each on another one than the pass before.
//!
//! A pass holds its CPU for some hundred microseconds, and whoever has something
//! to do there waits: a scheduler that finds no other CPU idle leaves it where it
//! was. Passes on one CPU would find the same end of a busy connection with unread
//! bytes, and the other end waiting, each time.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The CPUs that the calling thread may use again once this is dropped.
#[derive(Debug)]
pub struct Turns(Option<CpuSet>);

impl Turns {
    /// Begins on whatever CPU the thread is.
    pub fn begin() -> Self {
        Self(sched_getaffinity(SELF).ok())
    }

    /// Moves the thread to another CPU, if it may use one.
    pub fn next(&self) {
        let (Some(mut others), Ok(own)) = (self.0, sched_getcpu()) else {
            return;
        };
        if others.unset(own).is_ok() {
            // There may be no other.
            let _ = sched_setaffinity(SELF, &others);
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if let Some(all) = &self.0 {
            // CPUs that were taken away meanwhile are left out by the kernel.
            let _ = sched_setaffinity(SELF, all);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn may_use() -> CpuSet {
        sched_getaffinity(SELF).unwrap()
    }

    #[test]
    fn each_turn_is_on_another_cpu() {
        // A thread that may be moved without harm to other tests.
        thread::spawn(|| {
            let all = may_use();
            let many = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap());
            let many = many.count() > 1;
            let turns = Turns::begin();
            for _ in 0..5 {
                let before = sched_getcpu().unwrap();
                turns.next();
                assert_eq!(may_use().is_set(before).unwrap(), !many);
                assert_eq!(sched_getcpu().unwrap() == before, !many);
            }
            drop(turns);
            assert_eq!(may_use(), all);
        })
        .join()
        .unwrap();
    }
}
