//! The tree for a terminal: places, programs, and whom each connects to.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Drawn, counted};
use crate::{
    table::names::escape,
    traffic::{
        groups::{Link, Node},
        units,
    },
};

/// Letters of the widest bar.
const BAR: f64 = 12.0;

/// Returns the tree.
#[must_use]
pub fn render(drawn: &Drawn, colour: bool) -> String {
    let host = escape(drawn.host.as_bytes());
    let mut text = format!("who talks to whom on {host}: {}\n", drawn.summary());
    let nodes = &drawn.groups.nodes;
    if nodes.is_empty() {
        text.push_str("no connection between programs of this host was seen\n");
    } else {
        let legend = ["fast", "mixed", "stack"].map(|path| paint(&bar(6.0, path), path, colour));
        let [fast, mixed, stack] = legend;
        let _ = writeln!(
            text,
            "{fast} fast  {mixed} mixed  {stack} stack (plain TCP)"
        );
    }
    let mut places: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    let clients = (0..nodes.len()).filter(|at| links(drawn, *at).next().is_some());
    for at in clients {
        let node = &nodes[at];
        let key = (node.place.as_str(), node.cgroup.as_deref().unwrap_or(""));
        places.entry(key).or_default().push(at);
    }
    for ((place, _), programs) in places {
        let _ = writeln!(text, "\n{place}");
        for (index, at) in programs.iter().enumerate() {
            let last = index + 1 == programs.len();
            program(&mut text, drawn, *at, last, colour);
        }
    }
    reasons(&mut text, drawn);
    let away = &drawn.rates.elsewhere;
    if away.connections > 0 {
        let _ = writeln!(
            text,
            "\n{} to other hosts, {} sent",
            counted(away.connections, "connection"),
            units::bytes(away.bytes_per_s)
        );
    }
    text
}

/// What the reasons mean, each once.
fn reasons(text: &mut String, drawn: &Drawn) {
    let links = drawn.groups.links.iter();
    let reasons: BTreeMap<&str, &str> = links
        .filter(|link| link.reason != "none")
        .map(|link| (link.reason, link.why_not))
        .collect();
    if !reasons.is_empty() {
        text.push_str("\nwhy not fast, for the most part\n");
    }
    for (reason, words) in reasons {
        let _ = writeln!(text, "  {reason}: {}", words.replace('`', ""));
    }
}

/// The links of a client, most traffic first.
fn links(drawn: &Drawn, client: usize) -> impl Iterator<Item = &Link> {
    let all = drawn.groups.links.iter();
    all.filter(move |link| link.client == client)
}

fn program(text: &mut String, drawn: &Drawn, at: usize, last: bool, colour: bool) {
    let (branch, below) = if last {
        ("└─", "  ")
    } else {
        ("├─", "│ ")
    };
    let _ = writeln!(text, "{branch} {}", named(&drawn.groups.nodes[at]));
    let links: Vec<&Link> = links(drawn, at).collect();
    for (index, link) in links.iter().enumerate() {
        let branch = if index + 1 == links.len() {
            "└─"
        } else {
            "├─"
        };
        let line = line(drawn, link, colour);
        let _ = writeln!(text, "{below}   {branch} {line}");
    }
}

/// A program with its process, if it is one.
fn named(node: &Node) -> String {
    let mut pids = node.pids.iter();
    match (pids.next(), pids.next()) {
        (Some(only), None) if node.others == 0 => format!("{}({only})", node.title()),
        _ => node.title(),
    }
}

fn line(drawn: &Drawn, link: &Link, colour: bool) -> String {
    let server = &drawn.groups.nodes[link.server];
    let rates = drawn.groups.links.iter().map(|link| link.bytes_per_s);
    let most = rates.fold(0.0, f64::max);
    let share = if most > 0.0 {
        link.bytes_per_s / most
    } else {
        0.0
    };
    let bar = bar((share.sqrt() * BAR).max(1.0), link.path);
    let fill = " ".repeat(12_usize.saturating_sub(bar.chars().count()));
    let mut ports: Vec<String> = link.ports.iter().take(3).map(u32::to_string).collect();
    if link.ports.len() > ports.len() {
        ports.push("...".to_owned());
    }
    let because = match link.reason {
        "none" => String::new(),
        reason => format!("; {reason}"),
    };
    format!(
        "{}{fill} {} {}:{}  {}, {}, {} fast{because}",
        paint(&bar, link.path, colour),
        named(server),
        if server.place == "-" {
            String::new()
        } else {
            format!("[{}] ", server.place)
        },
        ports.join(","),
        units::bytes(link.bytes_per_s),
        counted(link.connections, "connection"),
        units::share(link.fast_share),
    )
}

/// A bar that is told apart without colour, too.
fn bar(length: f64, path: &str) -> String {
    let letter = match path {
        "fast" => "━",
        "mixed" => "╍",
        _ => "┄",
    };
    let mut bar = String::new();
    let mut drawn = 0.0;
    while drawn < length.min(BAR) {
        bar.push_str(letter);
        drawn += 1.0;
    }
    bar
}

fn paint(bar: &str, path: &str, colour: bool) -> String {
    if !colour {
        return bar.to_owned();
    }
    let code = match path {
        "fast" => "32",
        "mixed" => "33",
        _ => "31",
    };
    format!("\x1b[{code}m{bar}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{groups::Groups, rates::Rates};

    fn drawn() -> Drawn {
        let node = |name: &str, place: &str, pids: &[u32]| Node {
            process: Some(name.to_owned()),
            place: place.to_owned(),
            pids: pids.iter().copied().collect(),
            ..Node::default()
        };
        let link = |client, server, rate, path, reason| Link {
            client,
            server,
            connections: 2,
            bytes_per_s: rate,
            path,
            reason,
            why_not: if reason == "none" { "" } else { "It is so." },
            fast_share: Some(0.99),
            ports: [80].into(),
            ..Link::default()
        };
        Drawn {
            host: "host".to_owned(),
            groups: Groups {
                nodes: vec![
                    node("wrk", "a.service", &[7]),
                    node("nginx", "b.service", &[1, 2]),
                    node("redis", "-", &[9]),
                ],
                links: vec![
                    link(0, 1, 1e6, "fast", "none"),
                    link(1, 2, 1e4, "stack", "bulk"),
                ],
            },
            programs: 3,
            rates: Rates::default(),
        }
    }

    #[test]
    fn each_client_has_its_servers_below_it() {
        let text = render(&drawn(), false);
        let expected = "
a.service
└─ wrk(7)
     └─ ━━━━━━━━━━━━ nginx ×2 [b.service] :80  1 MB/s, 2 connections, 99% fast

b.service
└─ nginx ×2
     └─ ┄┄           redis(9) :80  10 kB/s, 2 connections, 99% fast; bulk

why not fast, for the most part
  bulk: It is so.
";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn colours_are_there_when_they_are_wanted() {
        assert!(!render(&drawn(), false).contains('\x1b'));
        assert!(render(&drawn(), true).contains("\x1b[31m┄┄\x1b[0m"));
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let mut nothing = drawn();
        nothing.groups = Groups::default();
        assert!(render(&nothing, false).contains("no connection"));
    }
}
