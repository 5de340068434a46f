//! The messages between the benchmark, its workers and their peers.
//!
//! A worker is one end of the measured connections, its peer (a process that
//! the worker starts) is the other. Both are steered over standard input and
//! output, one JSON value a line, so that one run can interleave workers that
//! live in different cgroups and namespaces.

use std::{
    io::{BufRead, Write},
    net::SocketAddr,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::Error;

/// The kind of socket that carries the bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// TCP over IPv4.
    Tcp,
    /// A Unix stream socket.
    Unix,
}

/// The way in which both ends wait.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calls {
    /// Blocking `send` and `recv`.
    Blocking,
    /// Non-blocking sockets, level-triggered `epoll_wait` before each `recv`.
    Epoll,
}

/// The work of the two ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A message there, the same message back.
    RoundTrip,
    /// Messages in one direction; the receiver reads into 64 KiB.
    Stream,
    /// Connect, accept, close.
    Connect,
    /// Connect, one request, one response, close.
    Request,
}

impl Work {
    /// True when each message has a connection of its own.
    #[must_use]
    pub fn connects(self) -> bool {
        matches!(self, Self::Connect | Self::Request)
    }
}

/// The choice of a kept connection for a measurement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Lane {
    /// Kind of socket.
    pub family: Family,
    /// The way in which both ends wait.
    pub calls: Calls,
    /// The work of the two ends.
    pub work: Work,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spec {
    /// Which connection.
    pub lane: Lane,
    /// Bytes in one message.
    pub size: usize,
    /// Processor of the worker.
    pub client_cpu: usize,
    /// Processor of the peer.
    pub server_cpu: usize,
    /// The time to measure, in milliseconds.
    pub millis: u64,
}

/// A request to a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Answer at once: shows that the worker and its peer run.
    Hello,
    /// Measure once.
    Measure(Spec),
}

/// The answer of a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello,
    /// To [`Request::Measure`].
    Sample(Sample),
    /// The request failed; the worker ends.
    Failed(String),
}

/// One measurement's result.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sample {
    /// Round trips, messages or connections.
    pub messages: u64,
    /// Payload bytes, both directions.
    pub bytes: u64,
    /// Duration.
    pub seconds: f64,
    /// Median latency of one round trip, where there is one.
    pub p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub p99_us: Option<f64>,
    /// Processor time of both processes (`getrusage`), per message.
    pub cpu_us: f64,
    /// Bytes that TCP itself sent, both ends (`tcpi_bytes_sent`): it does not
    /// see redirected bytes, so what is missing here went the fast way.
    pub stack_bytes: Option<u64>,
}

/// An order of a worker to its peer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Listen for one lane; unless its work is to connect, accept one
    /// connection and keep it.
    Listen(Lane),
    /// Serve one measurement.
    Run(Spec),
}

/// The answer of a peer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The worker can connect here.
    Listening(Address),
    /// The kept connection is there.
    Accepted,
    /// On its processor and about to serve.
    Ready,
    /// The measurement ended.
    Done(Served),
    /// The order failed; the peer ends.
    Failed(String),
}

/// Where a peer listens.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Internet address and port.
    Tcp(SocketAddr),
    /// Name in the abstract namespace: nothing is left in the file system.
    Unix(String),
}

/// The peer's share of a sample.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Served {
    /// Bytes received.
    pub bytes: u64,
    /// Processor time used.
    pub cpu_us: f64,
    /// Bytes that TCP itself sent.
    pub stack_bytes: Option<u64>,
}

/// One end of a control link.
#[derive(Debug)]
pub struct Link<R, W> {
    reader: R,
    writer: W,
}

impl<R: BufRead, W: Write> Link<R, W> {
    /// Speaks over these two.
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader, writer }
    }

    /// Says one thing.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn send<T: Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let mut line =
            serde_json::to_string(value).map_err(|error| Error::Protocol(error.to_string()))?;
        line.push('\n');
        self.writer
            .write_all(line.as_bytes())
            .and_then(|()| self.writer.flush())
            .map_err(Error::io("write to a control link"))
    }

    /// Hears one thing; `None` when the other end closed.
    ///
    /// # Errors
    /// When the line cannot be read or understood.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let mut line = String::new();
        let length = self
            .reader
            .read_line(&mut line)
            .map_err(Error::io("read from a control link"))?;
        if length == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|error| Error::Protocol(format!("{error} in {:?}", line.trim_end())))
    }

    /// The reading side.
    pub fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The writing side.
    pub fn writer(&mut self) -> &mut W {
        &mut self.writer
    }

    /// Closes the writing side and keeps the reading one.
    pub fn close(self) -> R {
        self.reader
    }
}
