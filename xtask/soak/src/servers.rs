//! redis, memcached and nginx, which live as long as the soak, through every change.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use test_support::{
    job::{FOR_EVER, Job},
    nginx::Nginx,
    ports, random,
};

use super::place::Place;

const START_LIMIT: Duration = Duration::from_mins(2);

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
        let [redis, memcached, nginx] = [(); 3].map(|()| ports::free());
        let config = Nginx {
            folder,
            listen: &format!("127.0.0.1:{nginx}"),
            workers: 0,
        }
        .prepare()?;
        let files = folder.join("files");
        fs::write(files.join("small"), "x".repeat(612)).context("writing a file")?;
        let large = files.join("large");
        fs::write(&large, random::numbered(LARGE)).context("writing a file")?;

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
    job.until_ready(START_LIMIT, || Ok(TcpStream::connect(address).is_ok()))
}
