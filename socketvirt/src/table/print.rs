//! The table for people: aligned, one line a socket.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
};

use super::{
    names::{Name, escape},
    view::{Socket, Table},
};
use crate::output;

/// The style in which it is printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal; `None` for no limit.
    pub width: Option<usize>,
    /// With colours.
    pub colour: bool,
}

impl Style {
    /// As standard output wants it.
    #[must_use]
    pub fn of_output() -> Self {
        let terminal = io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: terminal.then(width),
            colour: terminal && !unwanted,
        }
    }
}

/// Columns of the terminal.
fn width() -> usize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the structure lives during the call.
    let answer = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if answer == 0 && size.ws_col > 0 {
        usize::from(size.ws_col)
    } else {
        80
    }
}

/// A column: its title, whether numbers, and what it shows.
type Column = (&'static str, bool, fn(&Socket) -> String);

/// From the most important on: what the terminal has no room for is left out.
const COLUMNS: [Column; 12] = [
    ("ID", true, |s| s.id.to_string()),
    ("KIND", false, |s| s.netid.to_owned()),
    ("STATUS", false, |s| s.status.to_owned()),
    ("LOCAL", false, |s| {
        end(&s.local.name, s.local.port, s.local.family)
    }),
    ("REMOTE", false, |s| {
        end(&s.remote.name, s.remote.port, s.local.family)
    }),
    ("SEND-Q", true, |s| s.send_queue.bytes.to_string()),
    ("RECV-Q", true, |s| {
        (u64::from(s.receive_queue.bytes) + u64::from(s.receive_queue.redirected)).to_string()
    }),
    ("PROCESS", false, process),
    ("PEER", false, peer),
    ("PATH", false, path),
    ("CONN-Q", true, |s| {
        s.connection_queue.as_ref().map_or_else(
            || "-".to_owned(),
            |queue| format!("{}+{}/{}", queue.half_open, queue.waiting, queue.limit),
        )
    }),
    ("NETNS", false, |s| {
        s.local
            .netns_name
            .as_ref()
            .map_or_else(|| s.local.netns.to_string(), |name| escape(name.as_bytes()))
    }),
];

/// An end as `address:port`, or a name.
#[must_use]
pub fn end(name: &Name, port: u32, family: &str) -> String {
    // A map holds addresses as text, which anyone who may write it has written.
    let address = name.shown();
    let any = matches!(&*address, "0.0.0.0" | "::" | "");
    match family {
        "unix" if address.is_empty() => "-".to_owned(),
        "unix" => address,
        _ if any && port == 0 => "-".to_owned(),
        "inet6" if any => format!("[::]:{port}"),
        "inet6" => format!("[{address}]:{port}"),
        _ if any => format!("*:{port}"),
        _ => format!("{address}:{port}"),
    }
}

fn process(socket: &Socket) -> String {
    match (&socket.owner.command, socket.owner.pid) {
        (Some(command), Some(pid)) => {
            let more = socket
                .owner
                .processes
                .iter()
                .filter(|one| one.pid != pid)
                .count();
            let command = escape(command.as_bytes());
            if more == 0 {
                format!("{command}({pid})")
            } else {
                format!("{command}({pid})+{more}")
            }
        }
        _ => "-".to_owned(),
    }
}

fn peer(socket: &Socket) -> String {
    let remote = &socket.remote;
    match (remote.id, &remote.command, remote.pid) {
        (Some(id), Some(command), Some(pid)) => {
            format!("{id}={}({pid})", escape(command.as_bytes()))
        }
        (Some(id), ..) => id.to_string(),
        _ => "-".to_owned(),
    }
}

fn path(socket: &Socket) -> String {
    match &socket.path {
        Some(path) if path.path == "fast" || path.reason == "none" => path.path.to_owned(),
        Some(path) => format!("{}:{}", path.path, path.reason),
        None => "-".to_owned(),
    }
}

/// The table as text.
#[must_use]
pub fn render(table: &Table, style: Style) -> String {
    let cells: Vec<Vec<String>> = table
        .sockets
        .iter()
        .map(|socket| COLUMNS.iter().map(|(_, _, show)| show(socket)).collect())
        .collect();
    let widths: Vec<usize> = COLUMNS
        .iter()
        .enumerate()
        .map(|(index, (title, ..))| {
            let longest = cells.iter().map(|row| row[index].chars().count()).max();
            longest.unwrap_or(0).max(title.len())
        })
        .collect();
    let shown = fit(&widths, style.width);
    let mut text = String::new();
    let titles: Vec<String> = COLUMNS
        .iter()
        .map(|(title, ..)| (*title).to_owned())
        .collect();
    line(
        &mut text,
        &titles,
        &widths,
        &shown,
        style.colour.then_some("\x1b[1m"),
    );
    for (row, socket) in cells.iter().zip(&table.sockets) {
        let colour = style.colour.then(|| colour_of(socket)).flatten();
        line(&mut text, row, &widths, &shown, colour);
    }
    let left_out: Vec<&str> = COLUMNS
        .iter()
        .enumerate()
        .filter(|(index, _)| !shown.contains(index))
        .map(|(_, (title, ..))| *title)
        .collect();
    if !left_out.is_empty() {
        let _ = writeln!(
            text,
            "(no room for {}: make the terminal wider, or use --json)",
            left_out.join(", ")
        );
    }
    if !table.other_builds.is_empty() {
        let _ = writeln!(
            text,
            "(without what agents of other builds of socketvirt know: {})",
            escape(table.other_builds.join(", ").as_bytes())
        );
    }
    if table.missing > 0 {
        let _ = writeln!(
            text,
            "({} sockets found no room in an agent's map)",
            table.missing
        );
    }
    text
}

/// The columns that fit, the most important first.
fn fit(widths: &[usize], width: Option<usize>) -> Vec<usize> {
    let Some(width) = width else {
        return (0..widths.len()).collect();
    };
    let mut used = 0;
    let mut shown = Vec::new();
    for (index, column) in widths.iter().enumerate() {
        let gap = if shown.is_empty() { 0 } else { 2 };
        // The first columns are shown whatever they need: lines wrap.
        if index >= 5 && used + gap + column > width {
            continue;
        }
        used += gap + column;
        shown.push(index);
    }
    shown
}

fn line(
    text: &mut String,
    row: &[String],
    widths: &[usize],
    shown: &[usize],
    colour: Option<&str>,
) {
    let mut line = String::new();
    for (place, index) in shown.iter().enumerate() {
        if place > 0 {
            line.push_str("  ");
        }
        let pad = " ".repeat(widths[*index].saturating_sub(row[*index].chars().count()));
        if COLUMNS[*index].1 {
            line.push_str(&pad);
            line.push_str(&row[*index]);
        } else {
            line.push_str(&row[*index]);
            line.push_str(&pad);
        }
    }
    let line = line.trim_end();
    let _ = match colour {
        Some(colour) => writeln!(text, "{colour}{line}\x1b[0m"),
        None => writeln!(text, "{line}"),
    };
}

fn colour_of(socket: &Socket) -> Option<&'static str> {
    if socket.path.as_ref().is_some_and(|path| path.path == "fast") {
        return Some("\x1b[32m");
    }
    match socket.status {
        "LISTENING" => Some("\x1b[36m"),
        "DISCONNECTED" => Some("\x1b[33m"),
        "TERMINATED" | "SHUTDOWN" => Some("\x1b[2m"),
        _ => None,
    }
}

/// Writes text to standard output, through a pager when that is a terminal
/// and the text does not fit.
///
/// # Errors
/// When it cannot be written. A reader that has gone is no error.
pub fn page(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() && text.lines().count() > 24 {
        through_pager(text)
    } else {
        output::print(text).map(|_printed| ())
    }
}

fn through_pager(text: &str) -> io::Result<()> {
    let plain = || output::print(text).map(|_printed| ());
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else {
        return plain();
    };
    let child = Command::new(program)
        .args(words)
        // Ends when it all fits, passes colours on, leaves the screen as it is.
        .env(
            "LESS",
            std::env::var("LESS").unwrap_or_else(|_| "FRSX".to_owned()),
        )
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return plain();
    };
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.as_bytes()),
        None => Ok(()),
    };
    child.wait()?;
    match written {
        // Whoever has seen enough leaves the pager.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
