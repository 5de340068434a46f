//! A private redis-server: own port, own directory, nothing kept.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::cpus::Cpus;

const START_LIMIT: Duration = Duration::from_mins(2);

/// The server; it ends with this value.
pub struct Server {
    child: Child,
    log: PathBuf,
    port: u16,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub fn start(cpus: Cpus, directory: &Path) -> Result<Self> {
        let port = free_port()?;
        let log = directory.join("redis.log");
        // The kernel ends the server should this program be killed.
        let child = cpus
            .server()?
            .args(["setpriv", "--pdeathsig", "KILL", "redis-server"])
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(directory)
            .arg("--logfile")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting redis-server through setpriv")?;
        let mut server = Self { child, log, port };
        server.wait_until_ready()?;
        Ok(server)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait().context("waiting for redis-server")? {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("redis-server ended at once: {status}\n{log}");
            }
            if start.elapsed() > START_LIMIT {
                bail!(
                    "redis-server accepts no connection at {address} after {} s",
                    START_LIMIT.as_secs()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only for a server that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    let address = listener
        .local_addr()
        .context("reading the address of a listener")?;
    Ok(address.port())
}
