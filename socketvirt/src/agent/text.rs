//! The status as people read it.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use humantime::{format_duration, format_rfc3339_seconds};
use socketvirt_common::record::config::Mode;

use super::{
    kept::Kept,
    status::{Accelerating, Agent, Status},
};

/// Reasons that are shown, at most.
const TOP: usize = 5;

/// Returns the status in lines, as of `now`.
#[must_use]
pub fn render(status: &Status, now: SystemTime) -> String {
    let mut text = match &status.agent {
        Some(agent) => of_agent(agent, now),
        None => "no agent runs: this is what the pinned maps tell\n".to_owned(),
    };
    match &status.accelerating {
        Some(on) => accelerating(&mut text, on),
        None if status.agent.is_some() => {
            text.push_str("the agent keeps the table alone; `--mode` or `--config` accelerates\n");
        }
        None => {}
    }
    if let Some(table) = &status.table {
        let _ = writeln!(
            text,
            "table: {} sockets found no room, {} closed ones made room, {} events were lost",
            table.missing, table.evicted, table.lost
        );
    }
    text
}

fn of_agent(agent: &Agent, now: SystemTime) -> String {
    let since = UNIX_EPOCH + Duration::from_secs(agent.since);
    let on = now.duration_since(since).unwrap_or_default();
    format!(
        "socketvirt {}, process {}, on since {} ({})\n",
        agent.version,
        agent.pid,
        format_rfc3339_seconds(since),
        format_duration(Duration::from_secs(on.as_secs()))
    )
}

fn accelerating(text: &mut String, on: &Accelerating) {
    let summary = &on.summary;
    let (asked, mode) = (summary.mode, summary.effective_mode);
    let word = if on.paused {
        "paused, nothing is accelerated; `socketvirt resume` goes on"
    } else if mode == Mode::Off {
        "not accelerating"
    } else {
        "accelerating"
    };
    let _ = write!(text, "{word}: mode {}", mode.word());
    if mode != asked {
        let _ = write!(text, " instead of {}", asked.word());
    }
    let _ = writeln!(
        text,
        ", receive mode {}, home {}",
        summary.receive_mode.word(),
        on.home
    );
    for reason in &summary.degraded {
        let _ = writeln!(text, "  less than was asked for: {}", reason.words);
    }
    let _ = writeln!(
        text,
        "  pairs      {} on the fast path of {} now; {} adopted and {} released since the start",
        on.enrolled, on.watched, summary.adopted, summary.released
    );
    for (what, by) in [("bytes", summary.bytes), ("messages", summary.messages)] {
        let _ = writeln!(
            text,
            "  {what:<10} {} fast, {} stack ({:.1}% fast)",
            by.fast,
            by.stack,
            100.0 * by.share()
        );
    }
    if summary.vouches_void + summary.resets > 0 {
        let _ = writeln!(
            text,
            "  vouches    {} void and {} connections reset since the start",
            summary.vouches_void, summary.resets
        );
    }
    for void in &on.void {
        let _ = writeln!(
            text,
            "  void now   the {} of port {} in {}, until a policy is applied",
            void.side,
            void.port,
            void.cgroup.as_deref().unwrap_or("a cgroup that is gone")
        );
    }
    for (word, count) in &summary.errors {
        let _ = writeln!(text, "  failures   {word} {count}");
    }
    kept(text, "on plain TCP now", &on.kept);
    kept(text, "ended on plain TCP", &on.ended);
    text.push_str(&on.policy.render());
}

fn kept(text: &mut String, title: &str, all: &[Kept]) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}, by reason (sockets):");
    for kept in all.iter().take(TOP) {
        let _ = write!(text, "{:>9}  {}: {}", kept.sockets, kept.reason, kept.about);
        if !kept.change.is_empty() {
            let _ = write!(text, " -> {}", kept.change);
        }
        text.push('\n');
    }
    let rest: u64 = all.iter().skip(TOP).map(|kept| kept.sockets).sum();
    if rest > 0 {
        let _ = writeln!(text, "{rest:>9}  for other reasons: `--json` has all");
    }
}
