//! The control socket of an agent, asked as any program would.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::Value;
use socketvirt::agent::SOCKET;
use tempfile::TempDir;

use crate::{
    process::{PATIENCE, Process},
    run::{GO, workload},
};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The lines before its body.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks the agent at the usual place.
#[track_caller]
pub fn ask(method: &str, path: &str, body: &str) -> Answer {
    ask_at(Path::new(SOCKET), method, path, body).expect("an answer")
}

/// Asks the agent whose socket this is.
///
/// # Errors
/// When nobody answers.
pub fn ask_at(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: agent\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let answer = raw(socket, request.as_bytes())?;
    let wrong = || io::Error::other(format!("no answer: {answer}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(wrong)?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// Sends bytes, and reads until the agent closes.
///
/// # Errors
/// When nobody listens, or the connection breaks.
pub fn raw(socket: &Path, bytes: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    // Who refuses does not read to the end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The state of the agent at the usual place.
#[track_caller]
pub fn status() -> Value {
    ask("GET", "/v1/status", "").json()
}

/// A number of the data path's state.
#[track_caller]
pub fn number(name: &str) -> u64 {
    let status = status();
    status["accelerating"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name}: {status}"))
}

/// Pairs that talk until they are told to end, each byte checked.
#[derive(Debug)]
pub struct Talk {
    process: Process,
    folder: TempDir,
}

impl Talk {
    /// Starts so many.
    #[must_use]
    pub fn start(connections: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let words = workload(&format!(
            "streams --connections {connections} --phases pp:20x4K@200!go,stream:1M"
        ));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env(GO, folder.path().join("go"));
        Self {
            process: Process::start(&mut command),
            folder,
        }
    }

    /// Lets them end; every byte was right.
    #[track_caller]
    pub fn end(mut self) {
        fs::write(self.folder.path().join("go"), "").expect("a file");
        self.process.finish(PATIENCE).success();
    }
}
