//! The agent under measurement.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::bench::{error::Error, host::cpu_seconds};

/// Looks at whether it has settled, and how long each takes.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(500);

/// Percent of one CPU below which it has.
const RESTS: f64 = 1.0;

/// `socketvirt run --mode adopt` for a cgroup. It ends with the benchmark, as if it were interrupted.
pub struct Agent(Child);

impl Agent {
    /// Starts it with further `options`; it accelerates when this returns.
    pub fn start(cgroup: &Path, options: &[&str]) -> Result<Self, Error> {
        let program = env::current_exe().map_err(Error::io("find this program"))?;
        let mut command = Command::new(program);
        command
            .args(["run", "--mode", "adopt", "--cgroup"])
            .arg(cgroup)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // SAFETY: between fork and exec only prctl(2) is called.
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGINT)?));
        }
        let mut child = command
            .spawn()
            .map_err(Error::io("start `socketvirt run`"))?;
        let said = child.stderr.take();
        let agent = Self(child);
        let mut said = BufReader::new(said.ok_or(Error::Ended("`socketvirt run`", String::new()))?);
        let mut all = String::new();
        while !all.contains("accelerating") {
            let read = said.read_line(&mut all);
            if read.map_err(Error::io("read what `socketvirt run` says"))? == 0 {
                return Err(Error::Ended("`socketvirt run`", format!(": {all}")));
            }
        }
        // Its later output has to go somewhere.
        thread::spawn(move || said.read_to_end(&mut Vec::new()));
        Ok(agent)
    }

    /// The share of one CPU that it uses meanwhile, in percent.
    pub fn cpu_percent(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
        let used = || {
            cpu_seconds(self.0.id()).ok_or_else(|| Error::Ended("`socketvirt run`", String::new()))
        };
        let (start, before) = (Instant::now(), used()?);
        work()?;
        Ok((used()? - before) / start.elapsed().as_secs_f64() * 100.0)
    }

    /// Waits until it has seen the processes and sockets that are there, a while at most.
    pub fn settle(&self) -> Result<(), Error> {
        for _ in 0..LOOKS {
            let used = self.cpu_percent(|| {
                thread::sleep(LOOK);
                Ok(())
            })?;
            if used < RESTS {
                break;
            }
        }
        Ok(())
    }

    /// Ends it.
    pub fn end(mut self) -> Result<(), Error> {
        self.interrupt();
        let status = self.0.wait().map_err(Error::io("wait for the agent"))?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Ended("`socketvirt run`", format!(": {status}")))
        }
    }

    fn interrupt(&self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // One that has ended needs none.
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.interrupt();
            let _ = self.0.wait();
        }
    }
}
