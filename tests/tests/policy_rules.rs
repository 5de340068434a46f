//! The kernel side decides as the plain evaluator does, for any policy and any
//! connection.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};
use socketvirt::{
    datapath::{home::DECIDE, load::DataPath},
    host::{bpffs::PinDir, owner},
    kernel::layout::kernel_layout,
    policy::{
        Policy,
        evaluate::{Decision, End},
        matching,
        names::Names,
        store::Store,
    },
    program::readers,
};
use socketvirt_common::record::policy::DEFAULT;
use socketvirt_tests::{scaled, session::Session};

const PORTS: &[&str] = &[
    "1",
    "22",
    "\"20-25\"",
    "80",
    "\"79-81\"",
    "\"1-65535\"",
    "65535",
    "\"5000-6000\"",
];
const ADDRESSES: &[&str] = &[
    "\"10.0.0.0/8\"",
    "\"10.1.0.0/16\"",
    "\"10.1.2.3\"",
    "\"0.0.0.0/0\"",
    "\"::/0\"",
    "\"::1\"",
    "\"fd00::/8\"",
    "\"fd00:1::/32\"",
    "\"127.0.0.0/8\"",
];
const USERS: &[&str] = &["0", "1000", "1001", "65534"];
const SPACES: &[&str] = &["4026531840", "7", "\"/proc/self/ns/net\""];
const PROGRAMS: &[&str] = &["\"/**/policy_rules-*\"", "\"/nowhere/*\"", "\"/*\""];
const ACTIONS: &[&str] = &["adopt", "eager", "off", "observe"];

/// A property of a rule: its name, and some of the values, or none.
fn property(name: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let some = subsequence(values, 1..=values.len().min(3));
    prop_oneof![
        4 => Just(String::new()),
        1 => some.prop_map(move |values| format!("{name} = [{}]\n", values.join(", "))),
    ]
}

fn rule(cgroups: &'static [&'static str]) -> impl Strategy<Value = String> {
    let places = (
        property("server_port", PORTS),
        property("client_port", PORTS),
        property("port", PORTS),
        property("server_address", ADDRESSES),
        property("client_address", ADDRESSES),
        property("address", ADDRESSES),
    );
    let owners = (
        property("cgroup", cgroups),
        property("namespace", SPACES),
        property("uid", USERS),
        property("gid", USERS),
        property("executable", PROGRAMS),
    );
    (places, owners, select(ACTIONS)).prop_map(|((a, b, c, d, e, f), (g, h, i, j, k), action)| {
        format!("action = \"{action}\"\n{a}{b}{c}{d}{e}{f}{g}{h}{i}{j}{k}")
    })
}

fn policy(cgroups: &'static [&'static str]) -> impl Strategy<Value = String> {
    let rules = prop_oneof![
        4 => prop::collection::vec(rule(cgroups), 0..12),
        1 => prop::collection::vec(rule(cgroups), 60..200),
    ];
    (rules, select(ACTIONS)).prop_map(|(rules, default)| {
        let mut text = format!("default = \"{default}\"\n");
        for (number, rule) in rules.iter().enumerate() {
            let _ = write!(text, "[[rule]]\nname = \"rule {number}\"\n{rule}");
        }
        text
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(
        &[
            "10.1.2.3",
            "10.1.9.9",
            "10.9.9.9",
            "192.0.2.1",
            "127.0.0.1",
            "::1",
            "fd00:1::5",
            "fd77::1",
            "2001:db8::1",
        ][..],
    )
    .prop_map(|text| text.parse().expect("an address"))
}

/// A connection, and the id of its cgroup.
#[derive(Clone, Debug)]
struct Told {
    end: End,
    cgroup: u64,
}

fn told(cgroups: Vec<(u64, Option<String>)>, own: String) -> impl Strategy<Value = Told> {
    let port = select(&[1_u16, 22, 24, 80, 81, 443, 5_500, 65_535][..]);
    let own_space = u32::try_from(
        fs::metadata("/proc/self/ns/net")
            .expect("a namespace")
            .ino(),
    )
    .expect("a number");
    (
        (address(), port.clone()),
        (address(), port),
        select(cgroups),
        select(vec![own_space, 7, 9]),
        select(vec![0_u32, 1_000, 5]),
        select(vec![None, Some(0_u32), Some(1_001)]),
        select(vec![None, Some(own)]),
    )
        .prop_map(
            |(server, client, (id, cgroup), namespace, uid, gid, executable)| Told {
                end: End {
                    server,
                    client,
                    cgroup,
                    namespace,
                    uid,
                    gid,
                    executable,
                },
                cgroup: id,
            },
        )
}

/// The arguments of `sv_decide`, see `policy::facts::decide`.
fn arguments(told: &Told) -> [u64; 12] {
    let words = |address: IpAddr| -> [u64; 2] {
        let mapped: Ipv6Addr = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let octets = mapped.octets();
        let word = |at: usize| u64::from_ne_bytes(octets[at..at + 8].try_into().expect("8 bytes"));
        [word(0), word(8)]
    };
    let end = &told.end;
    let ([s0, s1], [c0, c1]) = (words(end.server.0), words(end.client.0));
    let (inode, version, pid) = if end.executable.is_some() {
        let found = fs::metadata("/proc/self/exe").expect("the own executable");
        let own = std::process::id();
        (found.ino(), readers::version(&found), u64::from(own))
    } else {
        (0, 0, 0)
    };
    [
        s0,
        s1,
        c0,
        c1,
        u64::from(end.server.1) | u64::from(end.client.1) << 16,
        told.cgroup,
        u64::from(end.namespace) | u64::from(end.uid) << 32,
        end.gid.map_or(0, |gid| u64::from(gid) | 1 << 32),
        inode,
        version,
        pid,
        0,
    ]
}

fn decide(program: &RawTracePoint, told: &Told) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    options.args = arguments(told);
    program.test_run(options).map(|ran| ran.return_value)
}

/// A loaded data path, with nothing attached. It goes with this value.
struct Loaded {
    _path: DataPath,
    pins: PinDir,
}

impl Loaded {
    fn new() -> Self {
        let pins = PinDir::create(&owner::name("exec")).expect("a folder");
        let path = DataPath::load(&kernel_layout().expect("a layout"), pins.path()).expect("load");
        Self { _path: path, pins }
    }

    fn folder(&self) -> &Path {
        self.pins.path()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = self.pins.remove();
    }
}

/// Some cgroups of this host: patterns that match them, and they themselves. One has
/// gone.
fn cgroups() -> (&'static [&'static str], Vec<(u64, Option<String>)>) {
    let mut there: Vec<(u64, String)> = matching::cgroups().into_iter().collect();
    there.sort_by(|one, other| one.1.len().cmp(&other.1.len()).then(one.1.cmp(&other.1)));
    there.truncate(6);
    let mut patterns = vec!["\"/nowhere\"".to_owned(), "\"/*\"".to_owned()];
    patterns.extend(there.iter().map(|(_, path)| format!("\"{path}\"")));
    let patterns: Vec<&'static str> = patterns
        .into_iter()
        .filter(|path| path != "\"/\"")
        .map(|path| &*Box::leak(path.into_boxed_str()))
        .collect();
    let mut all: Vec<_> = there
        .into_iter()
        .map(|(id, path)| (id, Some(path)))
        .collect();
    all.push((u64::from(u32::MAX) << 8, None));
    (Box::leak(patterns.into_boxed_slice()), all)
}

#[test]
fn the_kernel_decides_as_the_plain_evaluator() {
    let _session = Session::beside_others();
    let loaded = Loaded::new();
    let program = RawTracePoint::from_pin(loaded.folder().join(DECIDE)).expect("sv_decide");
    let store = RefCell::new(Store::open(loaded.folder()).expect("the maps"));
    let agent = RefCell::new(Names::open(loaded.folder()).expect("the maps"));
    let (patterns, there) = cgroups();
    let own = fs::read_link("/proc/self/exe").expect("the own executable");
    let own = own.to_string_lossy().into_owned();
    let config = Config {
        cases: scaled(60),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let cases = (
        policy(patterns),
        prop::collection::vec(told(there, own), 60),
    );
    let compared = Cell::new(0);
    TestRunner::new(config)
        .run(&cases, |(text, all)| {
            let policy = Policy::parse(Path::new("random.toml"), &text)
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            store.borrow_mut().apply(&policy, &text).expect("apply");
            for one in &all {
                let expected = policy.decide(&one.end);
                let mut decided = decide(&program, one).expect("run");
                if decided > DEFAULT {
                    // The agent is asked for names.
                    agent.borrow_mut().answer().expect("answer");
                    decided = decide(&program, one).expect("run");
                }
                let expected = match expected {
                    Decision::Rule(rule) => u32::try_from(rule).expect("a number"),
                    Decision::Default => DEFAULT,
                    Decision::Open(_) => DEFAULT + 1,
                };
                prop_assert_eq!(decided, expected, "{:?} under\n{}", one, text);
                compared.set(compared.get() + 1);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(compared.get() >= 3_600, "{compared:?}");
}

/// Each of as many rules as there may be decides about the one port that it names.
#[test]
fn as_many_rules_as_there_may_be() {
    let _session = Session::beside_others();
    let loaded = Loaded::new();
    let program = RawTracePoint::from_pin(loaded.folder().join(DECIDE)).expect("sv_decide");
    let mut text = String::from("default = \"off\"\n");
    for number in 0..4_096 {
        let port = number + 1;
        let _ = writeln!(
            text,
            "[[rule]]\nname = \"r{number}\"\naction = \"adopt\"\nserver_port = {port}"
        );
    }
    let policy = Policy::parse(Path::new("full.toml"), &text).expect("a policy");
    Store::open(loaded.folder())
        .expect("the maps")
        .apply(&policy, &text)
        .expect("apply");
    let at = |port: u16| Told {
        end: End {
            server: (Ipv6Addr::LOCALHOST.into(), port),
            client: (Ipv6Addr::LOCALHOST.into(), 50_000),
            cgroup: None,
            namespace: 1,
            uid: 0,
            gid: None,
            executable: None,
        },
        cgroup: 1,
    };
    for number in (0..4_096_u32).step_by(7).chain([63, 64, 4_095]) {
        let port = u16::try_from(number + 1).expect("a port");
        assert_eq!(decide(&program, &at(port)).expect("run"), number);
    }
    assert_eq!(decide(&program, &at(4_097)).expect("run"), DEFAULT);
}
