//! The scope of a watch.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The id of the cgroup that is accelerated now.
#[derive(Clone, Debug, Default)]
pub struct Id(Arc<AtomicU64>);

impl Id {
    /// Of a cgroup that stays, or will be watched.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self(Arc::new(AtomicU64::new(id)))
    }

    /// Returns the id as it is now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the id from now on.
    pub fn set(&self, id: u64) {
        self.0.store(id, Ordering::Relaxed);
    }
}
