//! `socketvirt policy explain`: which rule decides about a socket, and why.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use socketvirt_common::{
    record::{pair::Side, policy::DEFAULT},
    rule::policy::Action,
};

use crate::{
    policy::{
        Policy,
        asked::{Answer, Pairs},
        evaluate::{Decision, End, Match},
        homes, status,
        store::Store,
    },
    table::{
        print::page,
        source::{Namespaces, Source},
        view::{Socket, Table},
    },
};

/// Arguments of `socketvirt policy explain`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// A port, the id of a row, or an address with a port: of either end.
    #[arg(value_name = "PORT|ID|ADDR:PORT")]
    which: Which,
    /// The data path, when there are several.
    #[arg(long, value_name = "NAME")]
    home: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Number(u64),
    Address(SocketAddr),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no port, no id, and no address such as 127.0.0.1:5432 or [::1]:5432"
            )
        };
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => text.parse().map(Self::Address).map_err(|_| wrong()),
        }
    }
}

/// Explains each connected TCP socket that is meant.
pub fn run(args: &Args) -> Result<ExitCode> {
    let folder = homes::find(args.home.as_deref())?;
    let store = Store::open(&folder)?;
    let policy = status::in_force(&store)?
        .context("no policy is in force: the mode of the agent holds for all connections")?;
    let pairs = Pairs::open(&folder, &store)?;
    let table = Table::read(&Source::open()?, &Namespaces::All)?;
    let found = find(&table, args.which);
    if found.is_empty() {
        bail!("no connected TCP socket is that; `socketvirt table` lists them");
    }
    let mut text = String::new();
    for socket in found {
        let answer = pairs.answer(socket.id);
        let side = answer.map_or_else(|| side_of(&table, socket), |answer| answer.side);
        let Some(end) = end_of(socket, side) else {
            continue;
        };
        if args.json {
            let _ = writeln!(text, "{}", as_json(&policy, socket, &end, side, answer));
        } else {
            explain(&mut text, &policy, socket, &end, side, answer);
        }
    }
    page(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn find(table: &Table, which: Which) -> Vec<&Socket> {
    let is = |socket: &&Socket| match which {
        Which::Number(number) => {
            number != 0
                && (socket.id == number
                    || u64::from(socket.local.port) == number
                    || u64::from(socket.remote.port) == number)
        }
        Which::Address(wanted) => [
            address(&socket.local.name.address, socket.local.port),
            address(&socket.remote.name.address, socket.remote.port),
        ]
        .contains(&Some((wanted.ip().to_canonical(), wanted.port()))),
    };
    let connected = |socket: &&Socket| socket.local.protocol == "tcp" && socket.remote.port != 0;
    let all: Vec<&Socket> = table.sockets.iter().filter(connected).filter(is).collect();
    // An id is one socket, also when it is another's port.
    match which {
        Which::Number(number) if all.iter().any(|socket| socket.id == number) => all
            .into_iter()
            .filter(|socket| socket.id == number)
            .collect(),
        _ => all,
    }
}

fn address(text: &str, port: u32) -> Option<(IpAddr, u16)> {
    let address: IpAddr = text.split('%').next()?.parse().ok()?;
    Some((address.to_canonical(), u16::try_from(port).ok()?))
}

/// The end that a socket is which the agent does not watch: a server when someone
/// listens on its port.
fn side_of(table: &Table, socket: &Socket) -> Side {
    let listens = |other: &Socket| {
        other.status == "LISTENING"
            && other.local.protocol == "tcp"
            && other.local.port == socket.local.port
            && other.local.netns == socket.local.netns
    };
    if table.sockets.iter().any(listens) {
        Side::Server
    } else {
        Side::Client
    }
}

/// What the rules ask of a socket.
fn end_of(socket: &Socket, side: Side) -> Option<End> {
    let own = address(&socket.local.name.address, socket.local.port)?;
    let peer = address(&socket.remote.name.address, socket.remote.port)?;
    let (server, client) = match side {
        Side::Server => (own, peer),
        Side::Client => (peer, own),
    };
    let owner = &socket.owner;
    let file = owner
        .processes
        .first()
        .and_then(|process| fs::metadata(format!("/proc/{}/fd/{}", process.pid, process.fd)).ok());
    let executable = owner
        .pid
        .and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
    Some(End {
        server,
        client,
        cgroup: owner.cgroup.clone(),
        namespace: socket.local.netns,
        uid: owner.uid,
        gid: file.map(|file| file.gid()),
        executable: executable.map(|path: std::path::PathBuf| {
            let path: &Path = &path;
            path.to_string_lossy()
                .trim_end_matches(" (deleted)")
                .to_owned()
        }),
    })
}

/// The rule of an answer, by name.
fn name_of(policy: &Policy, answer: &Answer) -> Option<String> {
    let rule = answer.rule?;
    Some(if rule == DEFAULT {
        "default".to_owned()
    } else {
        policy.name(rule as usize).to_owned()
    })
}

const fn word(action: Action) -> &'static str {
    match action {
        Action::Eager => "eager",
        Action::Adopt => "adopt",
        Action::Undecided => "undecided",
        Action::Observe => "observe",
        Action::Off => "off",
    }
}

const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// The rules up to the one that decides, and what each says.
fn steps(policy: &Policy, end: &End) -> Vec<(String, String)> {
    let mut steps = Vec::new();
    for rule in &policy.rules {
        let name = rule.name.get_ref().clone();
        match rule.matches(end) {
            Match::No(property) => steps.push((name, format!("no: {property} differs"))),
            Match::If(property) => {
                steps.push((
                    name,
                    format!("not known yet: {property}; nothing is enrolled until it is"),
                ));
                return steps;
            }
            Match::Yes => {
                let action = rule.action.get_ref().word();
                let assumed = rule.assumed();
                let why = if assumed.is_empty() {
                    format!("matches: {action}")
                } else {
                    format!("matches: {action}, assumes {}", assumed.join(", "))
                };
                steps.push((name, why));
                return steps;
            }
        }
    }
    steps.push((
        "default".into(),
        format!("no rule matches: {}", policy.default.word()),
    ));
    steps
}

fn explain(
    text: &mut String,
    policy: &Policy,
    socket: &Socket,
    end: &End,
    side: Side,
    answer: Option<Answer>,
) {
    let (own, peer) = match side {
        Side::Server => (end.server, end.client),
        Side::Client => (end.client, end.server),
    };
    let _ = writeln!(
        text,
        "socket {}: the {} {} of {}, cgroup {}, uid {}",
        socket.id,
        side_word(side),
        SocketAddr::from(own),
        SocketAddr::from(peer),
        end.cgroup.as_deref().unwrap_or("(gone)"),
        end.uid,
    );
    let steps = steps(policy, end);
    // Many rules, one reason: the last ones tell enough.
    let shown = steps.len().saturating_sub(20);
    if shown > 0 {
        let _ = writeln!(text, "  {shown} rules before these do not match");
    }
    for (name, why) in &steps[shown..] {
        let _ = writeln!(text, "  {name}: {why}");
    }
    let _ = match answer {
        None => writeln!(
            text,
            "  the agent watches no such pair: its peer is not here, or it is new"
        ),
        Some(answer) => writeln!(
            text,
            "  in the kernel: rule {}, the pair: {}, on the stack for: {}",
            name_of(policy, &answer).as_deref().unwrap_or("not decided"),
            answer.pair.map_or("not looked at", word),
            answer.reason.word(),
        ),
    };
}

fn as_json(
    policy: &Policy,
    socket: &Socket,
    end: &End,
    side: Side,
    answer: Option<Answer>,
) -> Value {
    let decision = policy.decide(end);
    let rule = match decision {
        Decision::Rule(rule) | Decision::Open(rule) => policy.name(rule),
        Decision::Default => "default",
    };
    let steps: Vec<Value> = steps(policy, end)
        .into_iter()
        .map(|(rule, why)| json!({ "rule": rule, "why": why }))
        .collect();
    json!({
        "schema": 1,
        "id": socket.id,
        "side": side_word(side),
        "rule": rule,
        "action": policy.action(decision).map(crate::policy::file::Action::word),
        "steps": steps,
        "kernel": answer.map(|answer| json!({
            "rule": name_of(policy, &answer),
            "pair": answer.pair.map(word),
            "reason": answer.reason.word(),
        })),
    })
}
