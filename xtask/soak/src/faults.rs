//! Traffic that is a fault itself: storms of connections, namespaces that come and go, and maps that are full.

use anyhow::{Result, ensure};
use test_support::{random::Random, summary::Summary};

/// Connections a second that a storm asks for; the machine may give less.
const STORM: u32 = 5000;

/// The beginning of the names of namespaces, before this process's id.
pub const SPACE: &str = "svt-soak-";

/// The map that has no room for another pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The array of watched pairs.
    Watched,
    /// The watched ends by socket.
    Ends,
    /// The ends of enrolled pairs.
    Pairs,
    /// The map of what unified mode knows of an enrolled socket.
    Next,
    /// The socket itself, for a record of its own.
    Storage,
}

impl Full {
    pub const ALL: [Self; 5] = [
        Self::Watched,
        Self::Pairs,
        Self::Next,
        Self::Storage,
        Self::Ends,
    ];

    /// As [`Kind::word`](super::traffic::Kind::word) has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Watched => "full sv_watched",
            Self::Ends => "full sv_ends",
            Self::Pairs => "full sv_pairs",
            Self::Next => "full sv_next",
            Self::Storage => "full storage",
        }
    }

    /// As `full.sh` has it.
    pub fn what(self) -> &'static str {
        self.word().strip_prefix("full ").unwrap_or_default()
    }

    /// The counter of what was refused.
    const fn counter(self) -> &'static str {
        match self {
            Self::Storage => "storage_full",
            Self::Watched | Self::Ends | Self::Pairs | Self::Next => "pairs_full",
        }
    }

    /// Connections of the storm that meets it, where it is one.
    pub const fn storm(self) -> u32 {
        match self {
            Self::Watched => 3000,
            Self::Ends | Self::Pairs | Self::Next | Self::Storage => 0,
        }
    }

    /// Judges what `socketvirt exec` says of a run of `full.sh`: all that was refused is counted, and there was
    /// acceleration again once there was room.
    pub fn judge(self, summary: &Summary) -> Result<()> {
        match (self, summary.receive_mode.as_str()) {
            (_, "table_only") => return Ok(()),
            (Self::Next, mode) if mode != "unified" => return Ok(()),
            _ => {}
        }
        let counter = self.counter();
        let refused = summary.errors.get(counter).copied().unwrap_or(0);
        ensure!(refused > 0, "{}: {counter} counts nothing", self.word());
        ensure!(
            summary.adopted > 0,
            "{}: nothing is accelerated once there is room again",
            self.word()
        );
        // Of each connection that a storm asked for. Two whose handshakes meet in one slot of `sv_waiting` are no pair.
        let asked = u64::from(self.storm());
        let seen = summary.pairs + refused;
        ensure!(
            seen >= asked - asked / 100,
            "{}: {asked} connections, but {} pairs and {refused} refused",
            self.word(),
            summary.pairs
        );
        Ok(())
    }
}

/// Connections that each carry one request and its answer, as many a second as can be. Each storm has an address of
/// its own, and so all ports: what is left in `TIME_WAIT` does not stop the next one.
pub fn storm(random: &mut Random) -> String {
    let mut byte = || random.within(1..=254);
    let address = format!("127.{}.{}.{}", byte(), byte(), byte());
    format!(
        "--io edge --connections {} --total {} --listen {address}:0 --phases pp:1x{}",
        random.within(8..=256),
        STORM * random.within(1..=4),
        random.pick(64, &[512, 4096])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_has_to_be_told() {
        let mut summary = Summary {
            receive_mode: "unified".into(),
            pairs: 12,
            adopted: 4,
            ..Summary::default()
        };
        assert!(Full::Pairs.judge(&summary).is_err());
        summary.errors.insert("pairs_full".into(), 1);
        assert!(Full::Pairs.judge(&summary).is_ok());
        assert!(Full::Storage.judge(&summary).is_err());
        // Each of a storm.
        assert!(Full::Watched.judge(&summary).is_err());
        summary.errors.insert("pairs_full".into(), 2988);
        assert!(Full::Watched.judge(&summary).is_ok());
        summary.adopted = 0;
        assert!(Full::Pairs.judge(&summary).is_err());
        summary.receive_mode = "table_only".into();
        assert!(Full::Pairs.judge(&summary).is_ok());
    }
}
