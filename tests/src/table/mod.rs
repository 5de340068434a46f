//! The socket table as the binary prints it, and what `ss` and `/proc/net` say
//! of the same sockets.

pub mod keep;

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use crate::{process::must, run::binary};

/// Fields of one socket that the table and others both tell, by name.
pub type Columns = BTreeMap<&'static str, String>;

/// The table, of the namespaces that are asked for.
#[track_caller]
pub fn table(args: &str) -> Vec<Value> {
    match whole(args)["sockets"].take() {
        Value::Array(sockets) => sockets,
        other => panic!("no rows: {other}"),
    }
}

/// All that `socketvirt table --json` prints.
pub fn whole(args: &str) -> Value {
    let text = must(
        binary().to_str().expect("a path"),
        ["table", "--json"]
            .into_iter()
            .chain(args.split_whitespace()),
    );
    let table: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(table["schema"], 1, "another schema than this test knows");
    table
}

/// Counts the sockets of the host that are on the stack for this reason.
pub fn kept_for(reason: &str) -> usize {
    let rows = table("");
    let kept = rows.iter().filter(|row| row["path"]["reason"] == reason);
    kept.count()
}

/// The only row that is so.
#[track_caller]
pub fn only(rows: &[Value], what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let found: Vec<_> = rows.iter().filter(|row| is(row)).collect();
    assert_eq!(found.len(), 1, "{what}: {found:#?}");
    found[0].clone()
}

/// Returns the columns of a row that `ss` has too.
pub fn columns(row: &Value) -> Columns {
    let text = |pointer: &str| match row.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let mut columns = Columns::new();
    let netid = text("/netid");
    let state = text("/state");
    columns.insert("netid", netid.clone());
    columns.insert("state", state.clone());
    if !netid.starts_with('u') || netid == "udp" {
        columns.insert(
            "local",
            format!("{} {}", text("/local/address"), text("/local/port")),
        );
        columns.insert(
            "remote",
            format!("{} {}", text("/remote/address"), text("/remote/port")),
        );
    } else {
        columns.insert("local", text("/local/address"));
    }
    let (receive, send) = match row["connection_queue"].as_object() {
        Some(queue) => (queue["waiting"].to_string(), queue["limit"].to_string()),
        None => (text("/receive_queue/bytes"), text("/send_queue/bytes")),
    };
    columns.insert("recv-q", receive);
    columns.insert("send-q", send);
    if netid == "tcp" {
        columns.insert("cookie", text("/id"));
    }
    if row["options"]
        .as_object()
        .is_some_and(|all| !all.is_empty())
    {
        columns.insert("inode", text("/owner/inode"));
        columns.insert("rmem", text("/receive_queue/memory"));
        columns.insert("rcvbuf", text("/receive_queue/limit"));
        columns.insert("sndbuf", text("/send_queue/limit"));
        if netid == "tcp" {
            columns.insert("wmem", text("/send_queue/memory"));
            columns.insert("cgroup", text("/owner/cgroup"));
            columns.insert("congestion", text("/options/TCP_CONGESTION"));
            for (option, ss) in INET_OPTIONS {
                columns.insert(ss, text(&format!("/options/{option}")));
            }
            columns.insert("v6only", text("/options/IPV6_V6ONLY"));
        }
    }
    columns
}

/// Options that `ss --inet-sockopt` shows by a word when they are set.
const INET_OPTIONS: [(&str, &str); 4] = [
    ("IP_RECVERR", "recverr"),
    ("IP_FREEBIND", "freebind"),
    ("IP_TRANSPARENT", "transparent"),
    ("IP_BIND_ADDRESS_NO_PORT", "bind_address_no_port"),
];

/// Reads what `ss` says of all TCP and Unix sockets of a namespace.
pub fn ss(netns: Option<&str>) -> Vec<Columns> {
    let inside = |args: &str| {
        let args = args.split_whitespace();
        match netns {
            // Not `ip netns exec`, which hides the cgroups from `ss`.
            Some(name) => {
                let netns = format!("--net=/run/netns/{name}");
                must("nsenter", [netns.as_str(), "ss"].into_iter().chain(args))
            }
            None => must("ss", args),
        }
    };
    let tcp = inside("-taneimOH --inet-sockopt");
    let unix = inside("-xaneimOH");
    tcp.lines()
        .filter_map(ss_tcp)
        .chain(unix.lines().filter_map(ss_unix))
        .collect()
}

fn ss_tcp(line: &str) -> Option<Columns> {
    let mut words = line.split_whitespace();
    let mut columns = Columns::new();
    columns.insert("netid", "tcp".into());
    let state = match words.next()? {
        "ESTAB" => "ESTABLISHED".to_owned(),
        "UNCONN" => "CLOSE".to_owned(),
        other => other.replace("FIN-WAIT-", "FIN_WAIT").replace('-', "_"),
    };
    let listening = state == "LISTEN";
    columns.insert("recv-q", words.next()?.to_owned());
    columns.insert("send-q", words.next()?.to_owned());
    let (local, remote) = (words.next()?, words.next()?);
    columns.insert("local", endpoint(local, line));
    columns.insert("remote", endpoint(remote, line));
    let rest: Vec<&str> = words.collect();
    let value = |name: &str| {
        rest.iter()
            .find_map(|word| word.strip_prefix(name))
            .map(ToOwned::to_owned)
    };
    let cookie = u64::from_str_radix(&value("sk:")?, 16).ok()?;
    columns.insert("cookie", cookie.to_string());
    // Not of requests, and of connections that are over.
    if line.contains("skmem:(") {
        columns.insert("inode", value("ino:")?);
        if let Some(cgroup) = value("cgroup:") {
            columns.insert("cgroup", cgroup);
        }
        // Of listeners alone.
        if let Some(only) = value("v6only:") {
            columns.insert("v6only", only);
        }
        memory(line, &mut columns)?;
        let options = line
            .split_once("inet-sockopt: (")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map_or("", |(options, _)| options);
        for (_, option) in INET_OPTIONS {
            let on = options.split_whitespace().any(|word| word == option);
            columns.insert(option, u32::from(on).to_string());
        }
        // Behind the memory, words without a colon until the name.
        let after = line.split_once("skmem:(")?.1.split_once(") ")?.1;
        let name = after
            .split_whitespace()
            .find(|word| ["cubic", "bbr", "reno", "dctcp"].contains(word));
        if let Some(name) = name {
            columns.insert("congestion", name.to_owned());
        }
    }
    if listening {
        // The table counts these in its connection queue.
        columns.insert("state", "LISTEN".into());
    } else {
        columns.insert("state", state);
    }
    Some(columns)
}

fn ss_unix(line: &str) -> Option<Columns> {
    let mut words = line.split_whitespace();
    let mut columns = Columns::new();
    columns.insert("netid", words.next()?.to_owned());
    let state = match words.next()? {
        "ESTAB" => "ESTABLISHED",
        "UNCONN" => "CLOSE",
        other => other,
    };
    columns.insert("state", state.to_owned());
    columns.insert("recv-q", words.next()?.to_owned());
    columns.insert("send-q", words.next()?.to_owned());
    let name = words.next()?;
    columns.insert(
        "local",
        if name == "*" {
            String::new()
        } else {
            name.to_owned()
        },
    );
    columns.insert("inode", words.next()?.to_owned());
    memory(line, &mut columns)?;
    Some(columns)
}

/// `skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d0)`.
fn memory(line: &str, columns: &mut Columns) -> Option<()> {
    let memory = line.split_once("skmem:(")?.1.split_once(')')?.0;
    for word in memory.split(',') {
        let digits = word.find(|c: char| c.is_ascii_digit())?;
        let name = match &word[..digits] {
            "r" => "rmem",
            "rb" => "rcvbuf",
            "tb" => "sndbuf",
            "w" => "wmem",
            _ => continue,
        };
        columns.insert(name, word[digits..].to_owned());
    }
    Some(())
}

/// `[::1]:80`, `*:80`, `10.0.0.1%eth0:80`, `0.0.0.0:*`.
fn endpoint(text: &str, line: &str) -> String {
    let (address, port) = text.rsplit_once(':').expect("a port");
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address = address.split('%').next().expect("an address");
    let address = match address {
        "*" => "::".to_owned(),
        other => other
            .parse::<IpAddr>()
            .unwrap_or_else(|error| panic!("{text}: {error} in {line}"))
            .to_string(),
    };
    format!("{address} {}", if port == "*" { "0" } else { port })
}

/// Reads `/proc/net/udp` and `udp6` of a namespace, by inode.
pub fn proc_udp(netns: Option<&str>) -> Vec<Columns> {
    let read = |file: &str| match netns {
        Some(name) => must("ip", ["netns", "exec", name, "cat", file]),
        None => must("cat", [file]),
    };
    ["/proc/net/udp", "/proc/net/udp6"]
        .into_iter()
        .flat_map(|file| {
            read(file)
                .lines()
                .skip(1)
                .map(|line| udp(line).unwrap_or_else(|| panic!("{file}: {line}")))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// `1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:0 0 0 0 1234 2 ..`.
fn udp(line: &str) -> Option<Columns> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut columns = Columns::new();
    columns.insert("netid", "udp".into());
    columns.insert("local", hex_endpoint(words.get(1)?)?);
    columns.insert("remote", hex_endpoint(words.get(2)?)?);
    let state = match *words.get(3)? {
        "01" => "ESTABLISHED",
        "07" => "CLOSE",
        _ => return None,
    };
    columns.insert("state", state.into());
    let (send, receive) = words.get(4)?.split_once(':')?;
    columns.insert("send-q", u32::from_str_radix(send, 16).ok()?.to_string());
    columns.insert("recv-q", u32::from_str_radix(receive, 16).ok()?.to_string());
    columns.insert("inode", (*words.get(9)?).to_owned());
    Some(columns)
}

/// Each word of the address as the machine keeps it.
fn hex_endpoint(text: &str) -> Option<String> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(format!("{address} {}", u32::from_str_radix(port, 16).ok()?))
}

/// Returns the columns of one socket that differ between two accounts that have both.
pub fn differences(one: &Columns, other: &Columns) -> Vec<(&'static str, String)> {
    one.iter()
        .filter_map(|(name, value)| {
            let against = other.get(name)?;
            (against != value).then(|| (*name, format!("{value:?} against {against:?}")))
        })
        .collect()
}
