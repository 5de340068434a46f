//! A worker process, alone or under `socketvirt exec`.

use std::{
    env, fs,
    io::{self, BufReader, Read as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    error::Error,
    naive::Naive,
    options::WorkerArgs,
    plan::Mode,
    scratch::Scratch,
    stats::float,
    wire::{Link, Reply, Request, Sample, Spec},
    worker::PATIENCE,
};

/// Seconds for `exec` to load and to clean up: both are well below one second,
/// unless the verifier of a busy machine is at work.
const SLOW: u16 = 60;

/// Time from which on the share of processor time that `exec` used is its
/// running cost, not that of its start.
const LONG: Duration = Duration::from_secs(2);

/// A running worker.
#[derive(Debug)]
pub struct Host {
    child: Child,
    link: Link<BufReader<ChildStdout>, Input>,
    scratch: Scratch,
    mode: Mode,
    since: Instant,
    cpu_before: f64,
    /// Its sockets are in the map until it has ended.
    _naive: Option<Naive>,
}

/// The worker's standard input; closing it tells the worker to end.
#[derive(Debug)]
struct Input(Option<ChildStdin>);

impl io::Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .as_mut()
            .map_or(Err(io::ErrorKind::BrokenPipe.into()), |input| {
                input.write(bytes)
            })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

/// The last word of a worker that has ended.
#[derive(Clone, Debug, Default)]
pub struct Farewell {
    /// `exec --summary`.
    pub summary: Option<Value>,
    /// Processor time of `exec` itself while the worker was measured, in
    /// percent of one processor: scans and statistics.
    pub agent_cpu_percent: Option<f64>,
}

impl Host {
    /// Starts a worker and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; the message holds what it said last.
    pub fn start(mode: Mode, place: &WorkerArgs) -> Result<Self, Error> {
        let scratch = Scratch::new()?;
        let naive = (mode == Mode::Naive).then(Naive::load).transpose()?;
        let place = WorkerArgs {
            naive: naive.as_ref().map(Naive::map),
            ..place.clone()
        };
        let mut child = command(mode, &place, &scratch)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(scratch.stderr()?)
            .spawn()
            .map_err(Error::io("start a worker"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Ended("the worker", String::new()));
        };
        let link = Link::new(BufReader::new(output), Input(Some(input)));
        let since = Instant::now();
        let mut host = Self {
            child,
            link,
            scratch,
            mode,
            since,
            cpu_before: 0.0,
            _naive: naive,
        };
        match host.ask(&Request::Hello, SLOW)? {
            Reply::Hello => {}
            Reply::Sample(_) => return Err(Error::Protocol("a sample for a greeting".to_owned())),
            Reply::Failed(failure) => return Err(Error::Worker(failure)),
        }
        host.since = Instant::now();
        host.cpu_before = cpu_seconds(host.child.id()).unwrap_or_default();
        Ok(host)
    }

    /// Measures once.
    ///
    /// # Errors
    /// When the measurement fails; the worker is then of no further use.
    pub fn measure(&mut self, spec: &Spec) -> Result<Sample, Error> {
        match self.ask(&Request::Measure(*spec), 3 * PATIENCE)? {
            Reply::Sample(sample) => Ok(sample),
            Reply::Failed(failure) => Err(Error::Worker(failure)),
            Reply::Hello => Err(Error::Protocol("a greeting for a sample".to_owned())),
        }
    }

    /// Lets the worker end, and `exec` clean up behind it.
    pub fn stop(mut self) -> Farewell {
        let agent_cpu_percent = self.mode.option().and_then(|_| {
            let used = cpu_seconds(self.child.id())? - self.cpu_before;
            let lived = self.since.elapsed();
            (lived >= LONG).then(|| used / lived.as_secs_f64() * 100.0)
        });
        self.link.writer().0.take();
        let summary = self
            .drain()
            .and_then(|()| self.child.wait().map_err(Error::io("wait for a worker")))
            .ok()
            .and_then(|_| fs::read(self.scratch.summary()).ok())
            .and_then(|text| serde_json::from_slice(&text).ok());
        Farewell {
            summary,
            agent_cpu_percent,
        }
    }

    fn ask(&mut self, request: &Request, seconds: u16) -> Result<Reply, Error> {
        if let Err(error) = self.link.send(request) {
            return Err(self.ended().unwrap_or(error));
        }
        // One reply a request, so nothing is left in the buffer while waiting.
        self.wait_readable(seconds)?;
        match self.link.receive()? {
            Some(reply) => Ok(reply),
            None => Err(self
                .ended()
                .unwrap_or(Error::Ended("the worker", String::new()))),
        }
    }

    fn wait_readable(&mut self, seconds: u16) -> Result<(), Error> {
        let output = self.link.reader().get_ref();
        let mut waits = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(u32::from(seconds) * 1000).unwrap_or(PollTimeout::MAX);
        match poll(&mut waits, timeout).map_err(Error::call("poll"))? {
            0 => Err(Error::Silent("the worker", seconds)),
            _ => Ok(()),
        }
    }

    /// Reads what is left, until the last process has closed its output.
    fn drain(&mut self) -> Result<(), Error> {
        let mut rest = [0; 4096];
        loop {
            self.wait_readable(SLOW)?;
            match self.link.reader().read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read from a worker")(error)),
            }
        }
    }

    /// Returns the reason that the worker is gone, in its own words.
    fn ended(&mut self) -> Option<Error> {
        self.link.writer().0.take();
        self.drain().ok()?;
        let status = self.child.wait().ok()?;
        // Directly, or as `exec` passes it on.
        let alarm = Signal::SIGALRM as i32;
        if status.signal() == Some(alarm) || status.code() == Some(128 + alarm) {
            return Some(Error::Silent("the worker", PATIENCE));
        }
        let said = self.scratch.said().unwrap_or_default();
        Some(Error::Ended(
            "the worker",
            format!(" ({status}) {said}").trim_end().to_owned(),
        ))
    }
}

impl Drop for Host {
    /// Ends what did not end by itself; `exec` gets the chance to clean up.
    fn drop(&mut self) {
        self.link.writer().0.take();
        let Ok(pid) = i32::try_from(self.child.id()).map(Pid::from_raw) else {
            return;
        };
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            let _gone_meanwhile = kill(pid, signal);
            let _still_there = self.drain();
        }
        let _status = self.child.wait();
    }
}

fn command(mode: Mode, place: &WorkerArgs, scratch: &Scratch) -> Result<Command, Error> {
    let binary = env::current_exe().map_err(Error::io("find this binary"))?;
    let mut command = Command::new(&binary);
    if let Some(option) = mode.option() {
        command
            .args(["exec", "--mode", option, "--summary"])
            .arg(scratch.summary());
        command.arg("--").arg(&binary);
    }
    command
        .args(["bench-worker", "--ip"])
        .arg(place.ip.to_string());
    for (option, path) in [
        ("--client-netns", &place.client_netns),
        ("--server-netns", &place.server_netns),
    ] {
        if let Some(path) = path {
            command.arg(option).arg(path);
        }
    }
    if let Some(map) = place.naive {
        command.arg("--naive").arg(map.to_string());
    }
    Ok(command)
}

/// Processor time of a process with all its threads, without its children:
/// the first number of `schedstat`, in nanoseconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(float(nanos.sum()) / 1e9)
}
