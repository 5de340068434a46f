//! The list of metrics.

use socketvirt_common::record::{
    config::{Mode, ReceiveMode},
    watch::PAIRS,
};

use super::{
    Kind::{Counter, Gauge, Histogram, Info},
    Metric, Sample, Unit,
    samples::{labelled, on, paths, plain, rule_traffic, rules},
};
use crate::datapath::load::MAX_SOCKETS;

/// Each metric, in the order in which they are shown.
pub const METRICS: [Metric; 34] = [
    Metric {
        name: "build",
        kind: Info,
        unit: None,
        labels: &["version"],
        help: "The version of the agent",
        read: |_| vec![labelled(1_u64, [env!("CARGO_PKG_VERSION")])],
    },
    Metric {
        name: "start_time",
        kind: Gauge,
        unit: Some(Unit::Seconds),
        labels: &[],
        help: "The time of the agent's start, since 1970",
        read: |scrape| {
            let agent = scrape.status.agent.iter();
            agent.map(|agent| plain(agent.since)).collect()
        },
    },
    Metric {
        name: "accelerating",
        kind: Gauge,
        unit: None,
        labels: &[],
        help: "1 while connections may be accelerated: a mode is on, and is not paused",
        read: |scrape| on(scrape, |on| vec![plain(u64::from(on.works && !on.paused))]),
    },
    Metric {
        name: "paused",
        kind: Gauge,
        unit: None,
        labels: &[],
        help: "1 while the agent is paused",
        read: |scrape| on(scrape, |on| vec![plain(u64::from(on.paused))]),
    },
    Metric {
        name: "mode",
        kind: Gauge,
        unit: None,
        labels: &["mode"],
        help: "1 for the mode that is on",
        read: |scrape| {
            on(scrape, |on| {
                let modes = [Mode::Off, Mode::Adopt, Mode::Eager];
                let is_on = |mode| u64::from(on.summary.effective_mode == mode);
                modes
                    .map(|mode| labelled(is_on(mode), [mode.word()]))
                    .into()
            })
        },
    },
    Metric {
        name: "receive_mode",
        kind: Gauge,
        unit: None,
        labels: &["mode"],
        help: "1 for the way in which enrolled sockets receive",
        read: |scrape| {
            on(scrape, |on| {
                let modes = [
                    ReceiveMode::TableOnly,
                    ReceiveMode::TxOnly,
                    ReceiveMode::Unified,
                ];
                let is_on = |mode| u64::from(on.summary.receive_mode == mode);
                modes
                    .map(|mode| labelled(is_on(mode), [mode.word()]))
                    .into()
            })
        },
    },
    Metric {
        name: "degraded",
        kind: Gauge,
        unit: None,
        labels: &["reason"],
        help: "1 for each reason why less is on than was asked for",
        read: |scrape| {
            on(scrape, |on| {
                let degraded = on.summary.degraded.iter();
                degraded.map(|one| labelled(1_u64, [one.name])).collect()
            })
        },
    },
    Metric {
        name: "pairs_watched",
        kind: Gauge,
        unit: None,
        labels: &[],
        help: "Connections with both ends on this host that are watched now",
        read: |scrape| on(scrape, |on| vec![plain(on.watched)]),
    },
    Metric {
        name: "pairs_enrolled",
        kind: Gauge,
        unit: None,
        labels: &[],
        help: "Those that are on the fast path now",
        read: |scrape| on(scrape, |on| vec![plain(on.enrolled)]),
    },
    Metric {
        name: "pairs_found",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Connections whose two ends were found on this host",
        read: |scrape| on(scrape, |on| vec![plain(on.summary.pairs)]),
    },
    Metric {
        name: "adoptions",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Pairs that were enrolled, in mid-life or at the handshake",
        read: |scrape| on(scrape, |on| vec![plain(on.summary.adopted)]),
    },
    Metric {
        // Its unit is in its name alone: parsers are known that take no histogram with one.
        name: "adoption_time_seconds",
        kind: Histogram,
        unit: None,
        labels: &[],
        help: "Time from when a pair was found worth it, and nothing lasting spoke against it, until it was enrolled in mid-life",
        read: |scrape| {
            on(scrape, |on| {
                let times = &on.summary.adoption_time;
                let counts = times.pairs.iter();
                let buckets =
                    counts.map(|slot| (slot.at_most.unwrap_or(f64::INFINITY), slot.pairs));
                vec![Sample {
                    labels: Vec::new(),
                    value: times.sum,
                    buckets: buckets.collect(),
                }]
            })
        },
    },
    Metric {
        name: "releases",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Pairs that left the fast path before they closed",
        read: |scrape| on(scrape, |on| vec![plain(on.summary.released)]),
    },
    Metric {
        name: "vouches_void",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Programs whose vouch became void, because they did what it denies",
        read: |scrape| on(scrape, |on| vec![plain(on.summary.vouches_void)]),
    },
    Metric {
        name: "resets",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Connections that were reset, because a program whose vouch is void was stuck in them",
        read: |scrape| on(scrape, |on| vec![plain(on.summary.resets)]),
    },
    Metric {
        name: "traffic",
        kind: Counter,
        unit: Some(Unit::Bytes),
        labels: &["path"],
        help: "Payload of connections with both ends on this host, as of the last sweep",
        read: |scrape| {
            on(scrape, |on| {
                paths(on.summary.bytes.fast, on.summary.bytes.stack)
            })
        },
    },
    Metric {
        name: "messages",
        kind: Counter,
        unit: None,
        labels: &["path"],
        help: "Messages, as of the last sweep; of sockets that are not enrolled, data segments",
        read: |scrape| {
            on(scrape, |on| {
                paths(on.summary.messages.fast, on.summary.messages.stack)
            })
        },
    },
    Metric {
        name: "switches",
        kind: Counter,
        unit: None,
        labels: &["to"],
        help: "Changes of path, by direction of a connection",
        read: |scrape| {
            on(scrape, |on| {
                paths(on.summary.switches.to_fast, on.summary.switches.to_stack)
            })
        },
    },
    Metric {
        name: "kept_sockets",
        kind: Gauge,
        unit: None,
        labels: &["reason"],
        help: "Sockets of watched pairs that are on plain TCP now, by reason",
        read: |scrape| {
            on(scrape, |on| {
                let kept = on.kept.iter();
                kept.map(|kept| labelled(kept.sockets, [kept.reason]))
                    .collect()
            })
        },
    },
    Metric {
        name: "kept_sockets_ended",
        kind: Counter,
        unit: None,
        labels: &["reason"],
        help: "Sockets that ended without a redirected byte, by reason",
        read: |scrape| {
            on(scrape, |on| {
                let ended = on.ended.iter();
                ended
                    .map(|kept| labelled(kept.sockets, [kept.reason]))
                    .collect()
            })
        },
    },
    Metric {
        name: "failures",
        kind: Counter,
        unit: None,
        labels: &["kind"],
        help: "What failed; each cost acceleration, and packets_lost a connection",
        read: |scrape| {
            on(scrape, |on| {
                let errors = on.summary.errors.iter();
                errors
                    .map(|(&kind, &count)| labelled(count, [kind]))
                    .collect()
            })
        },
    },
    Metric {
        name: "rule_pairs",
        kind: Counter,
        unit: None,
        labels: &["rule", "action"],
        help: "Connections that a rule of the policy has decided about; each policy counts anew",
        read: |scrape| rules(scrape, |line| line.done.pairs),
    },
    Metric {
        name: "rule_adoptions",
        kind: Counter,
        unit: None,
        labels: &["rule", "action"],
        help: "Those that were enrolled",
        read: |scrape| rules(scrape, |line| line.done.enrolled),
    },
    Metric {
        name: "rule_pairs_enrolled",
        kind: Gauge,
        unit: None,
        labels: &["rule", "action"],
        help: "Those that are enrolled now",
        read: |scrape| rules(scrape, |line| line.done.now),
    },
    Metric {
        name: "rule_observed",
        kind: Counter,
        unit: None,
        labels: &["rule", "action"],
        help: "Connections that would have been enrolled, had the rule not only observed",
        read: |scrape| rules(scrape, |line| line.done.observed),
    },
    Metric {
        name: "rule_full",
        kind: Counter,
        unit: None,
        labels: &["rule", "action"],
        help: "Looks that found the limit of the rule reached",
        read: |scrape| rules(scrape, |line| line.done.full),
    },
    Metric {
        name: "rule_traffic",
        kind: Counter,
        unit: Some(Unit::Bytes),
        labels: &["rule", "action", "path"],
        help: "Payload that ends under a rule have sent",
        read: |scrape| {
            on(scrape, |on| {
                let lines = on.policy.rules.iter();
                lines.flat_map(rule_traffic).collect()
            })
        },
    },
    Metric {
        name: "agent_cpu",
        kind: Counter,
        unit: Some(Unit::Seconds),
        labels: &["tier"],
        help: "CPU time of the agent's watching thread",
        read: |scrape| {
            on(scrape, |_| {
                let act = scrape.seen.act_time;
                let watch = scrape.seen.time.saturating_sub(act);
                [("watch", watch), ("act", act)]
                    .map(|(tier, time)| Sample {
                        labels: vec![tier.into()],
                        value: time.as_secs_f64(),
                        buckets: Vec::new(),
                    })
                    .into()
            })
        },
    },
    Metric {
        name: "agent_rounds",
        kind: Counter,
        unit: None,
        labels: &["kind"],
        help: "Rounds of the watching thread: each looks at hot pairs, a sweep at all",
        read: |scrape| {
            on(scrape, |_| {
                let (all, sweeps) = (scrape.seen.rounds, scrape.seen.sweeps);
                let hot = all.saturating_sub(sweeps);
                vec![labelled(hot, ["hot"]), labelled(sweeps, ["sweep"])]
            })
        },
    },
    Metric {
        name: "map_entries",
        kind: Gauge,
        unit: None,
        labels: &["map"],
        help: "Entries of a map of the data path",
        read: |scrape| {
            on(scrape, |on| {
                // Both ends are enrolled, or leave.
                let fast = 2 * u64::from(on.enrolled);
                vec![
                    labelled(on.watched, ["sv_watched"]),
                    labelled(fast, ["sv_fast"]),
                ]
            })
        },
    },
    Metric {
        name: "map_entries_max",
        kind: Gauge,
        unit: None,
        labels: &["map"],
        help: "Entries for which a map has room; a full one costs acceleration, never a connection",
        read: |scrape| {
            on(scrape, |_| {
                vec![
                    labelled(PAIRS, ["sv_watched"]),
                    labelled(MAX_SOCKETS, ["sv_fast"]),
                ]
            })
        },
    },
    Metric {
        name: "table_events_lost",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Events of sockets that the table has not taken in",
        read: |scrape| {
            let table = scrape.status.table.iter();
            table.map(|table| plain(table.lost)).collect()
        },
    },
    Metric {
        name: "table_sockets_missing",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Sockets that found no room in the table",
        read: |scrape| {
            let table = scrape.status.table.iter();
            table.map(|table| plain(table.missing)).collect()
        },
    },
    Metric {
        name: "table_rows_evicted",
        kind: Counter,
        unit: None,
        labels: &[],
        help: "Rows of closed sockets that made room for others",
        read: |scrape| {
            let table = scrape.status.table.iter();
            table.map(|table| plain(table.evicted)).collect()
        },
    },
];
