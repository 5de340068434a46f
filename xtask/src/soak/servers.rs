//! redis, memcached and nginx, which live as long as the soak, through every change.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{job::Job, place::Place};

const START_LIMIT: Duration = Duration::from_mins(2);

/// They are no traffic of their own and have no limit.
const FOR_EVER: Duration = Duration::from_secs(u64::MAX);

/// Bytes of the large file.
const LARGE: usize = 6 << 20;

pub struct Servers {
    pub redis: u16,
    pub memcached: u16,
    /// nginx's address.
    pub web: String,
    /// The file that it serves as `/large`.
    pub large: PathBuf,
    jobs: Vec<Job>,
}

impl Servers {
    pub fn start(place: &Place, folder: &Path) -> Result<Self> {
        // All at once, so that they differ.
        let free: Vec<_> = (0..3)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()
            .context("looking for free ports")?;
        let ports: Vec<_> = free
            .iter()
            .map(|listener| listener.local_addr().map(|address| address.port()))
            .collect::<Result<_, _>>()
            .context("reading an address")?;
        drop(free);
        let (redis, memcached, nginx) = (ports[0], ports[1], ports[2]);

        let files = folder.join("files");
        fs::create_dir_all(files.join("up")).context("making the folder of files")?;
        fs::write(files.join("small"), "x".repeat(612)).context("writing a file")?;
        let large = files.join("large");
        fs::write(&large, numbered()).context("writing a file")?;
        let config = folder.join("nginx.conf");
        fs::write(&config, nginx_config(folder, nginx)).context("writing nginx's configuration")?;

        let here = folder.display();
        let lines = [
            (
                "redis-server",
                redis,
                format!(
                    "redis-server --port {redis} --bind 127.0.0.1 --save  --appendonly no --dir {here}"
                ),
            ),
            (
                "memcached",
                memcached,
                format!("memcached -u nobody -l 127.0.0.1 -p {memcached} -m 128"),
            ),
            ("nginx", nginx, format!("nginx -c {}", config.display())),
        ];
        let mut jobs = Vec::new();
        for (name, port, line) in lines {
            // `--save ''`: an empty word stays one.
            let words: Vec<_> = line.split(' ').map(String::from).collect();
            let log = folder.join(format!("{name}.log"));
            let mut job = Job::start(name, &words, &place.traffic_groups(), log, FOR_EVER)?;
            ready(&mut job, port)?;
            jobs.push(job);
        }
        Ok(Self {
            redis,
            memcached,
            web: format!("http://127.0.0.1:{nginx}"),
            large,
            jobs,
        })
    }

    /// Ends them, and their connections.
    pub fn end(&mut self) {
        self.jobs.clear();
    }

    /// That none has ended.
    pub fn check(&mut self) -> Result<()> {
        for job in &mut self.jobs {
            let status = job.status()?;
            ensure!(
                status.is_none(),
                "{} ended: {status:?}\n{}",
                job.name,
                job.text()
            );
        }
        Ok(())
    }
}

fn ready(job: &mut Job, port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        let status = job.status()?;
        ensure!(
            status.is_none() && start.elapsed() < START_LIMIT,
            "{} does not answer at {address} ({status:?})\n{}",
            job.name,
            job.text()
        );
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Bytes that differ from place to place.
fn numbered() -> String {
    let mut text = String::with_capacity(LARGE + 17);
    let mut number = 0_u64;
    while text.len() < LARGE {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        number += 1;
    }
    text
}

/// One process, which so ends with the soak however that ends.
fn nginx_config(folder: &Path, port: u16) -> String {
    let root = folder.display();
    format!(
        "master_process off; pid {root}/nginx.pid; error_log {root}/nginx-error.log; daemon off; user root;
         events {{ worker_connections 512; }}
         http {{
           access_log off; keepalive_requests 1000000; client_max_body_size 100m; sendfile on;
           client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
           uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
           server {{
             listen 127.0.0.1:{port}; root {root}/files;
             location /up/ {{ dav_methods PUT; create_full_put_path on; }}
           }}
         }}\n"
    )
}
