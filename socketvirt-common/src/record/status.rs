//! The ten statuses of a socket, and those that it went through.

use zerocopy::{FromZeros, Immutable, IntoBytes};

/// The status of a socket.
#[repr(u32)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromZeros,
    Immutable,
    IntoBytes,
)]
pub enum Status {
    /// Made, no address, no connection.
    #[default]
    UNCONNECTED = 0,
    /// Has an address of its own.
    BOUND = 1,
    /// Waits for connections.
    LISTENING = 2,
    /// A handshake is under way.
    CONNECTING = 3,
    /// Connected, nothing waits.
    CONNECTED = 4,
    /// Connected, bytes wait to be sent.
    SENDING = 5,
    /// Connected, bytes wait to be read or a reader waits for some.
    RECEIVING = 6,
    /// The other end has gone, the descriptor is still open.
    DISCONNECTED = 7,
    /// This end has called shutdown(2).
    SHUTDOWN = 8,
    /// Closed.
    TERMINATED = 9,
}

/// Number of statuses.
pub const STATUSES: usize = 10;

impl Status {
    /// True for a connection that carries data.
    #[inline(always)]
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::CONNECTED | Self::SENDING | Self::RECEIVING)
    }

    /// True when going from one to the other belongs to a socket's life, and
    /// not to the ebb and flow of its data.
    #[inline(always)]
    #[must_use]
    pub const fn is_step(self, next: Self) -> bool {
        self as u32 != next as u32 && !(self.is_connected() && next.is_connected())
    }
}

/// Steps of its life that a row remembers: a power of two, so that the
/// verifier can follow the index.
pub const STEPS: usize = 8;

/// One step.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros, Immutable, IntoBytes)]
pub struct Step {
    /// Nanoseconds since boot, without sleep (`CLOCK_MONOTONIC`).
    pub at: u64,
    /// The status since then.
    pub status: Status,
    /// 1 when this is only the time at which a scan found it so.
    pub scanned: u32,
}

/// The last [`STEPS`] steps of a life; later ones overwrite the oldest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromZeros, Immutable, IntoBytes)]
pub struct History {
    /// Steps so far; the last is at `(taken - 1) % STEPS`.
    pub taken: u32,
    /// Padding, always 0.
    pub unused: u32,
    /// The steps.
    pub steps: [Step; STEPS],
}

impl History {
    /// Notes a step.
    #[inline(always)]
    pub const fn note(&mut self, at: u64, status: Status, scanned: bool) {
        let index = self.taken as usize % STEPS;
        self.steps[index] = Step {
            at,
            status,
            scanned: scanned as u32,
        };
        self.taken = self.taken.wrapping_add(1);
    }

    /// Notes a step that may be older than others, once. A later step that a
    /// scan has found, with the same status, was no step then.
    pub fn weave(&mut self, step: Step) {
        let mut all = [Step::default(); STEPS + 1];
        let mut count = 0;
        for known in self.iter() {
            if (known.at, known.status) == (step.at, step.status) {
                return;
            }
            all[count] = *known;
            count += 1;
        }
        let forgotten = (self.taken as usize).saturating_sub(count);
        let place = all[..count]
            .iter()
            .position(|later| later.at > step.at)
            .unwrap_or(count);
        all.copy_within(place..count, place + 1);
        all[place] = step;
        count += 1;
        let mut kept = 0;
        for index in 0..count {
            if kept == 0 || all[kept - 1].status.is_step(all[index].status) {
                all[kept] = all[index];
                kept += 1;
            }
        }
        let total = forgotten + kept;
        for (index, step) in all[..kept]
            .iter()
            .enumerate()
            .skip(kept.saturating_sub(STEPS))
        {
            self.steps[(forgotten + index) % STEPS] = *step;
        }
        self.taken = u32::try_from(total).unwrap_or(u32::MAX);
    }

    /// Returns the steps that are remembered, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Step> {
        let taken = self.taken as usize;
        (taken.saturating_sub(STEPS)..taken).map(|index| &self.steps[index % STEPS])
    }
}
