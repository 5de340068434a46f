//! The agent in a container of its own, as the manifests of Kubernetes have it: not privileged, a
//! read-only root, a cgroup namespace, the host's BPF file system and cgroups passed in.
//!
//! crun starts the containers of two pods: namespaces and cgroups as a container engine makes them.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use socketvirt::host::bpffs;
use socketvirt_tests::{
    netns::{Netns, bridged},
    process::until,
    programs::required,
    run::binary,
    session::{PINS, Session, cgroup_root},
};
use tempfile::TempDir;

/// The address of the service, which no interface has.
const SERVICE: &str = "10.96.0.10";

const PORT: &str = "6379";

/// Where a container has the agent's program.
const AGENT: &str = "/socketvirt";

/// A container engine: its containers go with it.
struct Engine {
    folder: TempDir,
    /// The cgroup of all pods.
    pods: PathBuf,
    started: RefCell<Vec<String>>,
}

/// What a container has of its own.
struct Container<'a> {
    name: &'a str,
    pod: &'a str,
    network: Option<&'a Netns>,
    pids: Pids,
    args: Vec<String>,
    agent: bool,
    mounts: Vec<Value>,
}

/// The pid namespace of a container.
#[derive(Clone, Copy)]
enum Pids {
    Host,
    Own,
    /// That of a process.
    Of(u32),
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    let options: Vec<_> = ["rbind"].iter().chain(options).collect();
    json!({ "type": "bind", "source": source, "destination": destination, "options": options })
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The capabilities of the unit, without the one that only `admin_group` needs.
fn capabilities() -> Vec<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/socketvirt.service");
    let unit = fs::read_to_string(unit).expect("the unit");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let mut all = words(line.expect("capabilities"));
    all.retain(|name| name != "CAP_CHOWN");
    all
}

impl Engine {
    fn new() -> Self {
        required("crun");
        // What a container is given must be there; agents mount it where it is not.
        bpffs::mount_point().expect("the BPF file system");
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("dev")).expect("a folder");
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{name}"), root.join(name)).expect("a link");
        }
        Self {
            folder,
            pods: cgroup_root().join(format!("svt-pods-{}", std::process::id())),
            started: RefCell::default(),
        }
    }

    /// crun, which sees cgroups of version 2 alone, as most nodes have them.
    fn command(&self, args: &[&str]) -> Command {
        let script =
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec crun --cgroup-manager=cgroupfs \"$@\"";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation=private",
            "sh",
            "-c",
            script,
            "sh",
            "--root",
        ]);
        command.arg(self.folder.path().join("state")).args(args);
        command
    }

    fn crun(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("crun")
    }

    fn specification(&self, container: &Container<'_>) -> Value {
        let mut namespaces = vec![
            json!({ "type": "mount" }),
            json!({ "type": "cgroup" }),
            json!({ "type": "ipc" }),
            json!({ "type": "uts" }),
        ];
        if let Some(network) = container.network {
            let path = format!("/run/netns/{}", network.name());
            namespaces.push(json!({ "type": "network", "path": path }));
        }
        match container.pids {
            Pids::Of(of) => {
                namespaces.push(json!({ "type": "pid", "path": format!("/proc/{of}/ns/pid") }));
            }
            Pids::Own => namespaces.push(json!({ "type": "pid" })),
            Pids::Host => {}
        }
        let mut mounts = vec![
            json!({ "type": "proc", "source": "proc", "destination": "/proc" }),
            json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/dev", "options": ["mode=755"] }),
            json!({ "type": "sysfs", "source": "sysfs", "destination": "/sys", "options": ["ro"] }),
            json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/tmp" }),
            bind(Path::new("/usr"), "/usr", &["ro"]),
        ];
        let mut capabilities = json!({});
        if container.agent {
            let held = self::capabilities();
            capabilities = json!({ "bounding": held, "effective": held, "permitted": held });
            mounts.push(bind(&binary(), AGENT, &["ro"]));
            mounts.push(json!({ "type": "tmpfs", "source": "tmpfs", "destination": "/run" }));
            mounts.push(bind(Path::new("/sys/fs/cgroup"), "/sys/fs/cgroup", &[]));
        }
        mounts.extend(container.mounts.iter().cloned());
        let user = if container.agent { 0 } else { 65_534 };
        let cgroup = Path::new("/").join(self.pods.file_name().expect("a name"));
        json!({
            "ociVersion": "1.0.0",
            // The folders to mount on are made in it.
            "root": { "path": self.folder.path().join("root"), "readonly": true },
            "process": {
                "args": container.args, "cwd": "/", "env": ["PATH=/usr/bin"],
                "user": { "uid": user, "gid": user }, "capabilities": capabilities,
            },
            "mounts": mounts,
            "linux": {
                "cgroupsPath": cgroup.join(container.pod).join(container.name),
                "namespaces": namespaces,
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
            },
        })
    }

    /// Starts a container that goes on.
    fn start(&self, container: &Container<'_>) {
        let bundle = self.bundle(container);
        let log = fs::File::create(bundle.join("log")).expect("a log");
        let path = bundle.to_str().expect("a path");
        let mut command = self.command(&["run", "--detach", "--bundle", path, container.name]);
        // The container has these, too: a pipe would stay open.
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let status = command.status().expect("crun");
        assert!(
            status.success(),
            "{}: {}",
            container.name,
            self.log(container.name)
        );
    }

    /// Runs a container to its end, and returns what it printed.
    fn run(&self, container: &Container<'_>) -> String {
        let bundle = self.bundle(container);
        let bundle = bundle.to_str().expect("a path");
        let output = self.crun(&["run", "--bundle", bundle, container.name]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn bundle(&self, container: &Container<'_>) -> PathBuf {
        let bundle = self.folder.path().join(container.name);
        fs::create_dir(&bundle).expect("a folder");
        let text = self.specification(container).to_string();
        fs::write(bundle.join("config.json"), text).expect("a file");
        self.started.borrow_mut().push(container.name.to_owned());
        bundle
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name).join("log")).unwrap_or_default()
    }

    /// The first process of a container, as the host sees it.
    fn pid(&self, name: &str) -> u32 {
        let output = self.crun(&["state", name]);
        let state: Value = serde_json::from_slice(&output.stdout).expect("a state");
        u32::try_from(state["pid"].as_u64().expect("a pid")).expect("a pid")
    }

    /// Asks the agent in a container, by its own command.
    fn ask(&self, name: &str, args: &[&str]) -> Output {
        self.crun(&[&["exec", name, AGENT], args].concat())
    }

    fn status(&self, name: &str) -> Value {
        let output = self.ask(name, &["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Waits until the data path of an agent works.
    fn works(&self, name: &str) {
        until(&format!("{name} works: {}", self.log(name)), || {
            self.ask(name, &["status", "--check"]).status.success()
        });
    }

    /// Ends an agent as an engine does; nothing of it stays.
    fn end(&self, name: &str, pins: &Path) {
        let pid = self.pid(name);
        self.crun(&["kill", name, "TERM"]);
        until("the agent has ended", || {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .map_or(true, |s| s.contains("\nState:\tZ"))
        });
        assert!(!pins.exists(), "{}: {}", pins.display(), self.log(name));
    }

    /// A redis server in a pod.
    fn server(&self, network: &Netns) {
        let args =
            format!("redis-server --port {PORT} --bind 0.0.0.0 --protected-mode no --dir /tmp");
        let mut args = words(&args);
        args.extend(["--save".into(), String::new()]);
        self.start(&Container {
            name: "redis",
            pod: "shop",
            network: Some(network),
            pids: Pids::Own,
            args,
            agent: false,
            mounts: Vec::new(),
        });
        until("redis is ready", || {
            self.log("redis").contains("Ready to accept")
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for name in self.started.borrow().iter().rev() {
            self.crun(&["delete", "--force", name]);
        }
        let mut remove = Command::new("find");
        remove
            .arg(&self.pods)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
        let _ = remove.output();
    }
}

/// So many requests over connections that stay.
fn load(host: &str) -> Vec<String> {
    words(&format!(
        "redis-benchmark -h {host} -p {PORT} -c 4 -n 60000 -t get -q"
    ))
}

#[track_caller]
fn is_accelerated(status: &Value) {
    let on = &status["accelerating"];
    let adopted = on["adopted"].as_u64().expect("a number");
    // redis-benchmark opens a connection more, to ask for the configuration.
    assert!(adopted >= 4, "{status}");
    assert!(
        on["bytes"]["fast"].as_u64().expect("a number") > 1_000_000,
        "{status}"
    );
}

/// As the `DaemonSet` has it.
#[test]
fn an_agent_of_a_node_accelerates_between_pods_behind_a_service() {
    let _session = Session::start();
    let (router, [server, client]) = bridged();
    router.sysctl("net.ipv4.ip_forward=1");
    router.nft(&format!(
        "table ip services {{
            chain prerouting {{ type nat hook prerouting priority dstnat; ip daddr {SERVICE} dnat to 10.99.0.1; }}
            chain postrouting {{ type nat hook postrouting priority srcnat; ct status dnat masquerade; }}
        }}"
    ));
    let engine = Engine::new();
    engine.server(&server);
    let config = engine.folder.path().join("etc");
    fs::create_dir(&config).expect("a folder");
    let policy = format!(
        "default = \"off\"\n[[rule]]\nname = \"redis\"\nserver_port = {PORT}\naction = \"adopt\"\n"
    );
    fs::write(config.join("socketvirt.toml"), policy).expect("a policy");
    engine.start(&Container {
        name: "agent",
        pod: "node",
        network: None,
        pids: Pids::Host,
        args: words(&format!(
            "{AGENT} run --config /etc/socketvirt/socketvirt.toml"
        )),
        agent: true,
        mounts: vec![
            bind(&config, "/etc/socketvirt", &["ro"]),
            bind(Path::new("/sys/fs/bpf"), "/sys/fs/bpf", &[]),
        ],
    });
    engine.works("agent");
    engine.run(&Container {
        name: "client",
        pod: "client",
        network: Some(&client),
        pids: Pids::Own,
        args: load(SERVICE),
        agent: false,
        mounts: Vec::new(),
    });
    is_accelerated(&engine.status("agent"));
    engine.end("agent", Path::new(PINS));
}

/// As the sidecar has it: its own pod alone, which it finds although it sees `0::/`.
#[test]
fn a_sidecar_accelerates_its_own_pod() {
    let _session = Session::start();
    let engine = Engine::new();
    let (inside, outside) = (Netns::new("pod"), Netns::new("other"));
    engine.server(&inside);
    let pids = Pids::Of(engine.pid("redis"));
    let home = Path::new("/sys/fs/bpf").join(format!("svt-pod-{}", std::process::id()));
    fs::create_dir(&home).expect("a folder");
    engine.start(&Container {
        name: "sidecar",
        pod: "shop",
        network: Some(&inside),
        pids,
        args: words(&format!("{AGENT} run --mode adopt --cgroup /..")),
        agent: true,
        mounts: vec![bind(&home, "/sys/fs/bpf", &[])],
    });
    engine.works("sidecar");
    engine.run(&Container {
        name: "client",
        pod: "shop",
        network: Some(&inside),
        pids,
        args: load("127.0.0.1"),
        agent: false,
        mounts: Vec::new(),
    });
    let status = engine.status("sidecar");
    is_accelerated(&status);
    // Another pod is none of its business.
    let pairs = |status: &Value| status["accelerating"]["pairs"].as_u64().expect("a number");
    engine.start(&Container {
        name: "other",
        pod: "other",
        network: Some(&outside),
        pids: Pids::Own,
        args: words(&format!("redis-server --port {PORT} --dir /tmp")),
        agent: false,
        mounts: Vec::new(),
    });
    until("redis is ready", || {
        engine.log("other").contains("Ready to accept")
    });
    engine.run(&Container {
        name: "stranger",
        pod: "other",
        network: Some(&outside),
        pids: Pids::Own,
        args: load("127.0.0.1"),
        agent: false,
        mounts: Vec::new(),
    });
    assert_eq!(pairs(&engine.status("sidecar")), pairs(&status));
    engine.end("sidecar", &home.join("socketvirt"));
    fs::remove_dir(&home).expect("an empty folder");
}
