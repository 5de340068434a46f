//! Two containers as a container engine makes them: network namespaces whose veth pairs meet in a bridge of a third
//! one, the host. A service has an address of its own, which the host translates; its packet filter follows connections.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use test_support::netns::Netns;

/// Begins the names of the namespaces.
pub const PREFIX: &str = "svt-demo-";

/// The address that clients connect to; no interface has it.
const SERVICE: &str = "10.96.0.10";

/// As an engine with address translation for services sets it up.
const RULES: &str = "
table ip services {
    chain prerouting {
        type nat hook prerouting priority dstnat
        ip daddr 10.96.0.10 dnat to 10.55.0.2
    }
    chain postrouting {
        type nat hook postrouting priority srcnat
        ct status dnat masquerade
    }
    chain forward {
        type filter hook forward priority filter
        policy drop
        ct state established,related accept
        ct status dnat accept
    }
}
";

/// Where the client is, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the other container; it connects to the service's address.
    Containers,
    /// In the same container; it connects to 127.0.0.1.
    Loopback,
}

impl Place {
    pub const ALL: [Self; 2] = [Self::Containers, Self::Loopback];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Loopback => "loopback",
        }
    }

    pub const fn address(self) -> &'static str {
        match self {
            Self::Containers => SERVICE,
            Self::Loopback => "127.0.0.1",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containers => "two containers: bridge, service address (DNAT), conntrack",
            Self::Loopback => "one container: loopback",
        })
    }
}

/// The namespaces; they go when this is dropped.
pub struct Network {
    client: Netns,
    server: Netns,
    _host: Netns,
}

impl Network {
    pub fn make() -> Result<Self> {
        let host = Netns::new(PREFIX)?;
        host.ip("link add br0 type bridge")?;
        host.ip("address add 10.55.0.254/24 dev br0")?;
        host.ip("link set br0 up")?;
        let client = container(&host, "port1", "10.55.0.1/24")?;
        let server = container(&host, "port2", "10.55.0.2/24")?;
        host.sysctl("net.ipv4.ip_forward=1")?;
        host.nft(RULES)?;
        Ok(Self {
            client,
            server,
            _host: host,
        })
    }

    /// The namespace of the servers.
    pub fn server(&self) -> &Netns {
        &self.server
    }

    /// The namespace of a client.
    pub fn client(&self, place: Place) -> &Netns {
        match place {
            Place::Containers => &self.client,
            Place::Loopback => &self.server,
        }
    }
}

fn container(host: &Netns, port: &str, address: &str) -> Result<Netns> {
    let netns = Netns::new(PREFIX)?;
    host.connect(port, &netns, "eth0")?;
    host.ip(&format!("link set {port} master br0 up"))?;
    netns.ip(&format!("address add {address} dev eth0"))?;
    netns.ip("link set eth0 up")?;
    netns.ip("route add default via 10.55.0.254")?;
    Ok(netns)
}
