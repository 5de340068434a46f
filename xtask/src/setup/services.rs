//! Debian starts a service when it installs the service's package. Tests and the demo run their own
//! servers on their own ports, so what setup installs stays stopped, now and at the next boot.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, ensure};

use crate::progress;
use test_support::command;

struct Service {
    package: &'static str,
    name: &'static str,
    /// Where it listens when it is started as it is installed.
    port: Option<u16>,
}

const SERVICES: [Service; 14] = [
    Service {
        package: "etcd-server",
        name: "etcd",
        port: Some(2379),
    },
    Service {
        package: "haproxy",
        name: "haproxy",
        port: None,
    },
    Service {
        package: "mariadb-server",
        name: "mariadb",
        port: Some(3306),
    },
    Service {
        package: "memcached",
        name: "memcached",
        port: Some(11211),
    },
    Service {
        package: "nginx-light",
        name: "nginx",
        port: Some(80),
    },
    Service {
        package: "openssh-server",
        name: "ssh",
        port: Some(22),
    },
    Service {
        package: "pgbouncer",
        name: "pgbouncer",
        port: Some(6432),
    },
    Service {
        package: "php8.2-fpm",
        name: "php8.2-fpm",
        port: None,
    },
    Service {
        package: "postgresql",
        name: "postgresql",
        port: Some(5432),
    },
    Service {
        package: "rabbitmq-server",
        name: "rabbitmq-server",
        port: Some(5672),
    },
    Service {
        package: "redis-server",
        name: "redis-server",
        port: Some(6379),
    },
    Service {
        package: "rsync",
        name: "rsync",
        port: Some(873),
    },
    Service {
        package: "tomcat10",
        name: "tomcat10",
        port: Some(8080),
    },
    Service {
        package: "varnish",
        name: "varnish",
        port: Some(6081),
    },
];

/// The script that package scripts ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// First words of a policy that setup wrote.
const MARK: &str = "#!/bin/sh\n# socketvirt setup\n";

/// Forbids the start of services while it lives. A policy of somebody else is left as it is.
pub struct StartGuard {
    placed: Option<PathBuf>,
}

impl StartGuard {
    pub fn place() -> Result<Self> {
        Self::place_at(Path::new(POLICY))
    }

    fn place_at(path: &Path) -> Result<Self> {
        // One that a killed setup left behind.
        if fs::read_to_string(path).is_ok_and(|policy| policy.starts_with(MARK)) {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(Self { placed: None });
            }
            Err(error) => {
                return Err(error).with_context(|| format!("creating {}", path.display()));
            }
        };
        let guard = Self {
            placed: Some(path.to_owned()),
        };
        // 101 forbids the action. Should setup be killed, the policy permits everything again.
        write!(
            file,
            "{MARK}[ -d /proc/{} ] && exit 101\nexit 0\n",
            process::id()
        )
        .with_context(|| format!("writing {}", path.display()))?;
        Ok(guard)
    }
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        if let Some(path) = &self.placed
            && let Err(error) = fs::remove_file(path)
        {
            progress::error(&format!("removing {}: {error}", path.display()));
        }
    }
}

/// The ports of the services that something listens on.
pub fn listening() -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(text) => ports.extend(parse_listening(&text)),
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {table}")),
        }
    }
    ports.retain(|port| SERVICES.iter().any(|service| service.port == Some(*port)));
    Ok(ports)
}

/// Takes the services of newly installed packages out of the boot sequence, and checks that none runs.
pub fn keep_stopped(installed: &[&str], listening_before: &BTreeSet<u16>) -> Result<()> {
    let mut started = Vec::new();
    let new = SERVICES
        .iter()
        .filter(|service| installed.contains(&service.package));
    for service in new {
        if Path::new("/etc/init.d").join(service.name).exists() {
            command::run(Command::new("update-rc.d").args([service.name, "disable"]))?;
        }
        let Service { name, port, .. } = service;
        if let Some(port) = port
            && !listening_before.contains(port)
            && listening()?.contains(port)
        {
            started.push(format!("{name} (port {port}): `service {name} stop`"));
        }
    }
    ensure!(
        started.is_empty(),
        "the installation started services that are not wanted; stop them: {}",
        started.join(", ")
    );
    Ok(())
}

/// Local ports in state LISTEN (0A) of a `/proc/net/tcp` table.
fn parse_listening(table: &str) -> impl Iterator<Item = u16> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        (state == "0A")
            .then(|| u16::from_str_radix(port, 16).ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_forbids_starts_and_goes() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let policy = directory.path().join("policy-rc.d");
        let guard = StartGuard::place_at(&policy)?;
        assert_eq!(Command::new("sh").arg(&policy).status()?.code(), Some(101));
        drop(guard);
        assert!(!policy.exists());
        Ok(())
    }

    #[test]
    fn a_guard_of_a_killed_setup_permits_and_is_replaced() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let policy = directory.path().join("policy-rc.d");
        let mut dead = Command::new("true").spawn()?;
        dead.wait()?;
        drop(StartGuard::place_at(&policy)?);
        let left = format!("{MARK}[ -d /proc/{} ] && exit 101\nexit 0\n", dead.id());
        fs::write(&policy, left)?;
        assert_eq!(Command::new("sh").arg(&policy).status()?.code(), Some(0));
        let guard = StartGuard::place_at(&policy)?;
        assert_eq!(Command::new("sh").arg(&policy).status()?.code(), Some(101));
        drop(guard);
        assert!(!policy.exists());
        Ok(())
    }

    #[test]
    fn a_policy_of_somebody_else_stays() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let policy = directory.path().join("policy-rc.d");
        fs::write(&policy, "#!/bin/sh\nexit 0\n")?;
        drop(StartGuard::place_at(&policy)?);
        assert_eq!(fs::read_to_string(&policy)?, "#!/bin/sh\nexit 0\n");
        Ok(())
    }

    #[test]
    fn listeners_are_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:18EB 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:2BCB 0100007F:C001 01 00000000:00000000\n";
        assert_eq!(parse_listening(table).collect::<Vec<_>>(), [6379]);
    }
}
