//! Input that somebody hostile may write: the file of a policy, and the records in
//! pinned maps. Whatever the bytes are, reading them ends with a value or an error.
//!
//! `cargo xtask fuzz` makes such input; `tests/hostile.rs` reads what is in
//! `fuzz/corpus`.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use socketvirt::{
    policy::{Policy, compile::Compiled, evaluate::End},
    table::{
        iterator::{Record, records as records_of},
        peers,
        print::{self, Style},
        show,
        source::Scan,
        view::Table,
    },
};

/// Reads a policy. One that checks is compiled, and decides about a connection; what
/// is wrong with another is told.
pub fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match Policy::parse(Path::new("socketvirt.toml"), text) {
        Ok(policy) => {
            let compiled = Compiled::new(&policy);
            assert!(compiled.is_ok() || policy.rules.len() > 4_096);
            for (server, client) in [
                (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::BROADCAST.into()),
                (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()),
            ] {
                decides(&policy, server, client);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn decides(policy: &Policy, server: IpAddr, client: IpAddr) {
    let mut end = End {
        server: (server, 5432),
        client: (client, 40_000),
        cgroup: None,
        namespace: 1,
        uid: 0,
        gid: None,
        executable: None,
    };
    let _ = policy.action(policy.decide(&end));
    end.cgroup = Some("/system.slice/redis.service".into());
    end.executable = Some("/usr/bin/redis-server".into());
    end.gid = Some(0);
    // All that a rule asks for is known now.
    assert!(policy.action(policy.decide(&end)).is_some());
}

/// Reads what an iterator, or a pinned map, has given, and prints it in every way.
pub fn records(input: &[u8]) {
    let mut scan = Scan::default();
    for record in records_of(input) {
        match record {
            Record::Row(row) => scan.rows.push(*row),
            Record::Holder(holder) => scan.holders.push(holder),
            Record::Joined(_) | Record::Missing(_) => {}
        }
    }
    peers::find(&mut scan.rows);
    let table = Table::of(scan, &HashMap::new());
    for width in [None, Some(20), Some(200)] {
        let colour = false;
        shown(&print::render(&table, Style { width, colour }));
    }
    for socket in &table.sockets {
        let peer = socket.remote.id.and_then(|id| table.get(id));
        shown(&show::render(socket, peer, 1));
    }
    serde_json::to_string(&table).expect("any table is JSON");
}

/// Asserts that a terminal takes a text as nothing but text.
fn shown(text: &str) {
    let strange = text.chars().find(|one| one.is_control() && *one != '\n');
    assert_eq!(strange, None, "{text:?}");
}
