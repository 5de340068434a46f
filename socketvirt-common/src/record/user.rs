//! Additions to the records that only userspace needs.

use serde::Serialize;

use super::{
    config::{Mode, ReceiveMode},
    flow::Traffic,
    stats::Stats,
};

impl Mode {
    /// Returns the word for this mode in the summary.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Adopt => "adopt",
            Self::Eager => "eager",
        }
    }
}

impl ReceiveMode {
    /// Returns the word for this mode in the summary.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TableOnly => "table-only",
            Self::TxOnly => "tx-only",
            Self::Unified => "unified",
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Serialize for ReceiveMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Stats {
    /// Adds the counters of another CPU.
    pub fn add(&mut self, other: &Self) {
        // By name, so that none is forgotten.
        let Self {
            connected,
            accepted,
            followed,
            pairs,
            adopted,
            adopted_unread,
            eager,
            released,
            traffic,
            left_on_stack,
            pairs_full,
            storage_full,
            enrol_busy,
            enrol_refused,
            redirect_missed,
            packets_lost,
            adoption_times,
            adoption_time,
            vouches_void,
            resets,
        } = other;
        self.connected += connected;
        self.accepted += accepted;
        self.followed += followed;
        self.pairs += pairs;
        self.adopted += adopted;
        self.adopted_unread += adopted_unread;
        self.eager += eager;
        self.released += released;
        self.traffic.add(traffic);
        for (sum, one) in self.left_on_stack.iter_mut().zip(left_on_stack) {
            *sum += one;
        }
        self.pairs_full += pairs_full;
        self.storage_full += storage_full;
        self.enrol_busy += enrol_busy;
        self.enrol_refused += enrol_refused;
        self.redirect_missed += redirect_missed;
        self.packets_lost += packets_lost;
        for (sum, one) in self.adoption_times.iter_mut().zip(adoption_times) {
            *sum += one;
        }
        self.adoption_time += adoption_time;
        self.vouches_void += vouches_void;
        self.resets += resets;
    }
}

impl Traffic {
    /// Adds the counters of another CPU.
    pub fn add(&mut self, other: &Self) {
        self.fast_bytes += other.fast_bytes;
        self.fast_messages += other.fast_messages;
        self.stack_bytes += other.stack_bytes;
        self.stack_messages += other.stack_messages;
        self.to_fast += other.to_fast;
        self.to_stack += other.to_stack;
    }
}
