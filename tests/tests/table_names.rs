//! Names that programs choose: whatever is in them, a row is one line, a
//! terminal is told nothing, and no two names look alike.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
};

use serde_json::Value;
use socketvirt_tests::{
    process::must,
    run::binary,
    session::Session,
    table::{keep::cookie, only, table},
};

/// This process under another name.
struct Renamed {
    before: Vec<u8>,
}

const COMM: &str = "/proc/self/comm";

impl Renamed {
    fn to(name: &[u8]) -> Self {
        let before = fs::read(COMM).expect("the own name");
        fs::write(COMM, name).expect("another name");
        Self { before }
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        fs::write(COMM, self.before.trim_ascii_end()).expect("the name back");
    }
}

fn socketvirt(args: &[&str]) -> String {
    must(binary().to_str().expect("a path"), args)
}

fn listener(name: &[u8]) -> UnixListener {
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    UnixListener::bind_addr(&address).expect("bind")
}

#[test]
fn names_break_no_row_and_stay_apart() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a directory");
    let _renamed = Renamed::to(b"a\x1b[2J\nb  c");
    let own = std::process::id().to_string();
    let base = format!("svt-{own}");
    let abstract_name = |rest: &[u8]| [base.as_bytes(), rest].concat();
    let path = |name: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(name));
    let mut sockets: Vec<UnixListener> = [
        &b"\0b"[..],
        b"\0c",
        b"",
        b"\0",
        b"\x1b]0;title\x07",
        b"\n0 u_str LISTENING",
        b"\xff",
        b"\xfe",
        b"\\xff",
        "\u{202e}".as_bytes(),
    ]
    .map(|rest| listener(&abstract_name(rest)))
    .into();
    sockets.push(UnixListener::bind(path(b"new\nline  ")).expect("bind"));
    // As long as a name can be.
    let longest = [base.as_bytes(), &[b'.'; 107][base.len()..]].concat();
    sockets.push(listener(&longest));
    let client = UnixStream::connect_addr(
        &SocketAddr::from_abstract_name(abstract_name(b"\0b")).expect("a name"),
    )
    .expect("connect");

    let rows = table(&format!("--pid {own}"));
    let of = |id: u64| only(&rows, "a row", |row| row["id"] == id);
    let text = |row: &Value| row["local"]["address"].as_str().expect("text").to_owned();
    assert_eq!(text(&of(cookie(&sockets[0]))), format!("@{base}\0b"));
    let hex = &of(cookie(&sockets[6]))["local"]["address_hex"];
    assert!(hex.as_str().is_some_and(|hex| hex.ends_with("ff")), "{hex}");
    assert_eq!(text(&of(cookie(&sockets[11]))).len(), 108);
    let peer = of(cookie(&client));
    assert_eq!(peer["remote"]["address"], format!("@{base}\0b"));

    let shown = socketvirt(&["table", "--pid", &own]);
    assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'));
    assert_eq!(shown.lines().count(), rows.len() + 1, "{shown}");
    assert!(shown.contains("a\\x1b[2J\\x0ab \\x20c("), "{shown}");
    let mut names: Vec<_> = sockets
        .iter()
        .map(|socket| {
            let id = cookie(socket).to_string();
            let line = shown
                .lines()
                .find(|line| line.trim_start().starts_with(&id));
            let words = line.unwrap_or_else(|| panic!("no {id} in {shown}"));
            words.split_whitespace().nth(3).expect("a name").to_owned()
        })
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "{shown}");

    for socket in &sockets {
        let shown = socketvirt(&["show", &cookie(socket).to_string()]);
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'));
    }
    let shown = socketvirt(&["show", &cookie(&client).to_string()]);
    assert!(shown.contains(&format!("@{base}\\x00b")), "{shown}");
}
