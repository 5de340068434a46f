//! Network namespaces that go away with their guard, also when a test panics.

use test_support::netns;

/// A network namespace with its loopback up.
#[derive(Debug)]
pub struct Netns(netns::Netns);

impl Netns {
    /// Makes a namespace.
    pub fn new(word: &str) -> Self {
        Self(netns::Netns::new(&format!("svt-{word}-")).expect("a network namespace"))
    }

    /// The options that put both ends of a workload inside.
    ///
    /// Thousands of short connections belong in a namespace of their own:
    /// those in `TIME_WAIT` go with it, instead of slowing the scans of later
    /// tests for a minute.
    pub fn both_ends(&self) -> String {
        format!("--server-netns {0} --client-netns {0}", self.name())
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Runs `ip` inside.
    #[track_caller]
    pub fn ip(&self, args: &str) {
        self.0.ip(args).expect("ip(8) inside");
    }

    /// Makes a veth pair, one end inside under this name, the other one in `far`
    /// as `veth0`.
    fn connect(&self, name: &str, far: &Self) {
        self.0.connect(name, &far.0, "veth0").expect("a veth pair");
    }

    /// Runs a command inside.
    #[track_caller]
    pub fn exec(&self, args: &str) -> String {
        self.0.exec(args).expect("a command inside")
    }

    /// Loads an nftables ruleset inside.
    #[track_caller]
    pub fn nft(&self, rules: &str) {
        self.0.nft(rules).expect("rules");
    }

    /// Sets a sysctl inside.
    #[track_caller]
    pub fn sysctl(&self, setting: &str) {
        self.0.sysctl(setting).expect("a sysctl");
    }
}

/// Two namespaces joined by a veth pair: 10.99.0.1 and 10.99.0.2, `fd99::1` and
/// `fd99::2`.
pub fn veth_pair() -> (Netns, Netns) {
    let (a, b) = (Netns::new("a"), Netns::new("b"));
    a.connect("veth0", &b);
    for (netns, host) in [(&a, 1), (&b, 2)] {
        address(netns, host);
    }
    (a, b)
}

fn address(netns: &Netns, host: u32) {
    netns.ip(&format!("address add 10.99.0.{host}/24 dev veth0"));
    netns.ip(&format!("address add fd99::{host}/64 dev veth0 nodad"));
    netns.ip("link set veth0 up");
}

/// A namespace with a bridge (10.99.0.254) and `N` namespaces on it, which
/// have the addresses 10.99.0.1 and so on, and the bridge as their way out.
pub fn bridged<const N: usize>() -> (Netns, [Netns; N]) {
    let router = Netns::new("br");
    router.ip("link add br0 type bridge");
    router.ip("address add 10.99.0.254/24 dev br0");
    router.ip("link set br0 up");
    let hosts = std::array::from_fn(|index| {
        let netns = Netns::new("host");
        let port = format!("port{index}");
        router.connect(&port, &netns);
        router.ip(&format!("link set {port} master br0 up"));
        address(&netns, u32::try_from(index).expect("few hosts") + 1);
        netns.ip("route add default via 10.99.0.254");
        netns
    });
    (router, hosts)
}

/// Two namespaces on two subnets with a router between them: the client has
/// 10.98.0.1, the server 10.97.0.1, the router .254 in both.
pub fn routed() -> (Netns, Netns, Netns) {
    let (client, router, server) = (
        Netns::new("client"),
        Netns::new("router"),
        Netns::new("server"),
    );
    for (netns, port, net) in [(&client, "left", 98), (&server, "right", 97)] {
        router.connect(port, netns);
        router.ip(&format!("address add 10.{net}.0.254/24 dev {port}"));
        router.ip(&format!("link set {port} up"));
        netns.ip(&format!("address add 10.{net}.0.1/24 dev veth0"));
        netns.ip("link set veth0 up");
        netns.ip(&format!("route add default via 10.{net}.0.254"));
    }
    router.sysctl("net.ipv4.ip_forward=1");
    (client, router, server)
}
