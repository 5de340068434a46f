//! One socket, every field, its peer beside it.

use std::fmt::Write as _;

use socketvirt_common::reason::Reason;

use super::{names::escape, print::end, view::Socket, why::decider};

type Field = (&'static str, String);

/// The socket and its peer, side by side.
#[must_use]
pub fn render(socket: &Socket, peer: Option<&Socket>, now: u64) -> String {
    let own = fields(socket, now);
    let other = peer.map(|peer| fields(peer, now));
    let width = own
        .iter()
        .map(|(_, value)| value.chars().count())
        .max()
        .unwrap_or(0)
        .min(60);
    let mut text = String::new();
    let _ = match peer {
        Some(_) => writeln!(text, "{:<18}  {:<width$}  PEER", "", "SOCKET"),
        None => writeln!(text, "{:<18}  SOCKET", ""),
    };
    for (index, (name, value)) in own.iter().enumerate() {
        let beside = other
            .as_ref()
            .and_then(|other| other.get(index))
            .map_or("", |(_, value)| value.as_str());
        let _ = writeln!(
            text,
            "{}",
            format!("{name:<18}  {value:<width$}  {beside}").trim_end()
        );
    }
    options(&mut text, socket, peer, width);
    text.push_str("history\n");
    for (whose, of) in [("socket", Some(socket)), ("peer", peer)] {
        for step in of.map(|of| of.history.as_slice()).unwrap_or_default() {
            let ago = now.saturating_sub(step.at);
            let found = if step.scanned {
                " (found by a scan)"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {whose:<8}{:<14} {} ago{found}",
                step.status,
                duration(ago)
            );
        }
    }
    if socket.history.is_empty() {
        text.push_str("  none: no agent was running (`socketvirt run`) when it changed\n");
    }
    reason(&mut text, "socket", socket, peer);
    if let Some(peer) = peer {
        reason(&mut text, "peer", peer, Some(socket));
    }
    text
}

fn fields(s: &Socket, now: u64) -> Vec<Field> {
    let since = s.history.last().map_or_else(String::new, |step| {
        format!(" for {}", duration(now.saturating_sub(step.at)))
    });
    let queue = s.connection_queue.as_ref().map_or_else(
        || "-".to_owned(),
        |queue| {
            format!(
                "{} half-open, {} waiting, limit {}",
                queue.half_open, queue.waiting, queue.limit
            )
        },
    );
    let namespace = s.local.netns_name.as_ref().map_or_else(
        || s.local.netns.to_string(),
        |name| format!("{} ({})", s.local.netns, escape(name.as_bytes())),
    );
    let mut fields = vec![
        ("id", s.id.to_string()),
        ("status", format!("{}{since}", s.status)),
        ("state", s.state.to_owned()),
        (
            "kind",
            format!("{} {} {}", s.local.family, s.local.r#type, s.local.protocol),
        ),
        ("local", end(&s.local.name, s.local.port, s.local.family)),
        ("remote", end(&s.remote.name, s.remote.port, s.local.family)),
        ("namespace", namespace),
        ("event", s.local.event.join(" ")),
        (
            "blocking",
            if s.local.blocking { "yes" } else { "no" }.to_owned(),
        ),
        (
            "reader waits",
            if s.local.reader_waits { "yes" } else { "no" }.to_owned(),
        ),
        (
            "shut down",
            if s.local.shutdown.is_empty() {
                "-".to_owned()
            } else {
                s.local.shutdown.join(" ")
            },
        ),
        ("error", s.local.error.to_string()),
        (
            "send queue",
            format!(
                "{} B, memory {} of {}",
                s.send_queue.bytes, s.send_queue.memory, s.send_queue.limit
            ),
        ),
        (
            "receive queue",
            format!(
                "{} B + {} B redirected, memory {} of {}",
                s.receive_queue.bytes,
                s.receive_queue.redirected,
                s.receive_queue.memory,
                s.receive_queue.limit
            ),
        ),
        ("connection queue", queue),
        (
            "cgroup",
            s.owner.cgroup.as_ref().map_or_else(
                || format!("{} (gone)", s.owner.cgroup_id),
                |path| escape(path.as_bytes()),
            ),
        ),
        ("uid", s.owner.uid.to_string()),
        ("inode", s.owner.inode.to_string()),
        (
            "processes",
            s.owner
                .processes
                .iter()
                .map(|one| {
                    format!(
                        "{}({}) fd {}",
                        escape(one.command.as_bytes()),
                        one.pid,
                        one.fd
                    )
                })
                .collect::<Vec<_>>()
                .join(", "),
        ),
    ];
    fields.extend(path(s));
    fields
}

fn path(s: &Socket) -> [Field; 5] {
    let of = |show: &dyn Fn(&super::view::Path) -> String| {
        s.path.as_ref().map_or_else(|| "-".to_owned(), show)
    };
    [
        (
            "path",
            of(&|path| format!("{} ({})", path.path, path.reason)),
        ),
        ("enrolment", of(&|path| path.enrolment.to_owned())),
        (
            "sent fast",
            of(&|path| format!("{} B in {} messages", path.fast_bytes, path.fast_messages)),
        ),
        (
            "sent by stack",
            of(&|path| format!("{} B in {} messages", path.stack_bytes, path.stack_messages)),
        ),
        (
            "switches",
            of(&|path| format!("{} to fast, {} to stack", path.to_fast, path.to_stack)),
        ),
    ]
}

/// Says what the reason of a socket means, and what would change it.
fn reason(text: &mut String, who: &str, socket: &Socket, other: Option<&Socket>) {
    let Some((decides, reason)) = decider(socket, other) else {
        return;
    };
    if decides.id != socket.id {
        let own = socket.path.as_ref().map_or("", |path| path.reason);
        let _ = writeln!(text, "\n{who}: {own}. The other end decides.");
    } else if reason != Reason::None {
        let (word, about, change) = (reason.word(), reason.about(), reason.change());
        let _ = writeln!(
            text,
            "\n{who}: {word}. {about}\n  What would change it: {change}"
        );
    }
}

fn options(text: &mut String, socket: &Socket, peer: Option<&Socket>, width: usize) {
    for (name, value) in &socket.options {
        let beside = peer
            .and_then(|peer| peer.options.get(name))
            .map(plain)
            .unwrap_or_default();
        let line = format!("{name:<18}  {:<width$}  {beside}", plain(value));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), |text| escape(text.as_bytes()))
}

/// A time in words.
fn duration(nanoseconds: u64) -> String {
    let time = std::time::Duration::from_nanos(nanoseconds);
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
