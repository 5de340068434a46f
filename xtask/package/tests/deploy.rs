//! What is installed elsewhere, and would rot unnoticed: the unit, the manifests, the lists of
//! the packages' contents.

use std::{fs, path::Path, process::Command};

use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Container, Namespace, Pod},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use serde_json::Value;
use socketvirt::{kernel::capabilities, policy::Policy};
use xtask::workspace;

fn deploy(path: &str) -> String {
    let path = workspace::root().join("deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn analyze(arguments: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .expect("systemd-analyze: run `cargo xtask setup`");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    told.into_owned()
}

#[test]
fn systemd_understands_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("socketvirt.service");
    // The program is not installed here.
    let text = deploy("systemd/socketvirt.service").replace("/usr/bin/socketvirt", "/bin/true");
    fs::write(&unit, text).unwrap();
    let told = analyze(&["verify", "--man=no"], &unit);
    assert!(!told.contains("socketvirt.service:"), "{told}");
}

/// A stop takes the data path away. A restart, such as that of an upgrade, leaves it to the new agent.
#[test]
fn a_restart_keeps_the_connections() {
    let unit = deploy("systemd/socketvirt.service");
    let has = |line: &str| unit.lines().any(|of_unit| of_unit == line);
    assert!(has("RestartKillSignal=SIGUSR2"));
    assert!(!unit.contains("\nKillSignal=") && !unit.contains("--on-exit"));
    for script in ["debian/postinst", "rpm/postun.sh"] {
        assert!(deploy(script).contains("systemctl try-restart socketvirt.service"));
    }
}

/// Ten times the exposure that docs/operations.md tells.
const EXPOSURE: &str = "--threshold=36";

#[test]
fn the_unit_is_as_hard_as_it_was() {
    let unit = workspace::root().join("deploy/systemd/socketvirt.service");
    analyze(
        &["security", "--offline=yes", "--no-pager", EXPOSURE],
        &unit,
    );
}

/// The capabilities of the unit and of the containers are those that the agent asks for.
#[test]
fn capabilities_are_the_same_everywhere() {
    let needed = capabilities::NEEDED.map(|(name, ..)| name);
    let unit = deploy("systemd/socketvirt.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let of_unit: Vec<_> = line.expect("a set").split(' ').collect();
    let agents = [agent_of_nodes(), agent_of_pod()];
    for name in needed {
        assert!(of_unit.contains(&name), "{name} is not in {of_unit:?}");
    }
    for agent in agents {
        let given = agent.security_context.unwrap().capabilities.unwrap();
        assert_eq!(given.drop.unwrap(), ["ALL"]);
        let given = given
            .add
            .unwrap()
            .into_iter()
            .map(|name| format!("CAP_{name}"));
        let mut given: Vec<_> = given.collect();
        let mut expected: Vec<_> = of_unit.iter().map(|name| (*name).to_owned()).collect();
        // It gives a socket to a group, which containers do not.
        expected.retain(|name| name != "CAP_CHOWN");
        given.sort();
        expected.sort();
        assert_eq!(given, expected);
    }
}

/// Reads a manifest. Each field that it has must be one of Kubernetes.
fn manifest<T: DeserializeOwned + Serialize>(path: &str) -> T {
    let text = deploy(&format!("kubernetes/{path}"));
    let given: Value = serde_yaml_ng::from_str(&text).unwrap();
    let read: T = serde_json::from_value(given.clone()).unwrap_or_else(|e| panic!("{path}: {e}"));
    let kept = serde_json::to_value(&read).unwrap();
    has_all(&given, &kept, path);
    read
}

/// Fails when something of `given` is not in `kept`.
fn has_all(given: &Value, kept: &Value, at: &str) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                let at = format!("{at}: {key}");
                let found = kept
                    .get(key)
                    .unwrap_or_else(|| panic!("{at}: Kubernetes knows it not"));
                has_all(value, found, &at);
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            assert_eq!(given.len(), kept.len(), "{at}");
            for (given, kept) in given.iter().zip(kept) {
                has_all(given, kept, at);
            }
        }
        _ => assert_eq!(given, kept, "{at}"),
    }
}

fn agent_of_nodes() -> Container {
    let set: DaemonSet = manifest("base/daemonset.yaml");
    let spec = set.spec.unwrap().template.spec.unwrap();
    assert_eq!(
        spec.priority_class_name.as_deref(),
        Some("system-node-critical")
    );
    assert_eq!(spec.host_pid, Some(true));
    spec.containers.into_iter().next().unwrap()
}

fn agent_of_pod() -> Container {
    let pod: Pod = manifest("sidecar/pod.yaml");
    let spec = pod.spec.unwrap();
    assert_eq!(spec.share_process_namespace, Some(true));
    spec.init_containers.unwrap().into_iter().next().unwrap()
}

#[test]
fn kubernetes_understands_the_manifests() {
    let _: Namespace = manifest("base/namespace.yaml");
    for agent in [agent_of_nodes(), agent_of_pod()] {
        let context = agent.security_context.unwrap();
        assert_eq!(context.privileged, None);
        assert_eq!(context.read_only_root_filesystem, Some(true));
    }
}

/// The command line understands what the manifests ask of it.
#[test]
fn the_arguments_of_containers_are_understood() {
    for agent in [agent_of_nodes(), agent_of_pod()] {
        let probe = agent.startup_probe.unwrap().exec.unwrap().command.unwrap();
        let arguments = agent.args.unwrap();
        for words in [
            ["socketvirt".to_owned()]
                .into_iter()
                .chain(arguments)
                .collect(),
            probe,
        ] {
            let words: Vec<String> = words;
            let parsed = socketvirt::cli::command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn a_kustomization_names_files_that_are_there() {
    for folder in ["base", "sidecar"] {
        let text = deploy(&format!("kubernetes/{folder}/kustomization.yaml"));
        let read: Value = serde_yaml_ng::from_str(&text).unwrap();
        for file in read["resources"].as_array().unwrap() {
            deploy(&format!("kubernetes/{folder}/{}", file.as_str().unwrap()));
        }
    }
}

#[test]
fn what_is_installed_accelerates_nothing() {
    for path in ["socketvirt.toml", "kubernetes/base/socketvirt.toml"] {
        let path = workspace::root().join("deploy").join(path);
        let (policy, _) = Policy::read(&path).unwrap();
        assert_eq!(policy.default.word(), "off");
        assert!(policy.rules.is_empty());
    }
}

/// The lists of both packages, as `(source, destination)`.
fn lists() -> [Vec<(String, String)>; 2] {
    let path = workspace::root().join("socketvirt/Cargo.toml");
    let text = fs::read_to_string(path).unwrap();
    let read: toml::Table = text.parse().unwrap();
    let metadata = &read["package"]["metadata"];
    let word = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let list = |name: &str| metadata[name]["assets"].as_array().unwrap();
    let deb = list("deb")
        .iter()
        .map(|one| (word(&one[0]), word(&one[1])))
        .collect();
    let of_rpm = |one: &toml::Value| (word(&one["source"]), word(&one["dest"]));
    [deb, list("generate-rpm").iter().map(of_rpm).collect()]
}

#[test]
fn both_packages_have_the_same_files() {
    let [deb, rpm] = lists();
    let sources = |list: &[(String, String)]| {
        let mut all: Vec<_> = list.iter().map(|(source, _)| source.clone()).collect();
        all.retain(|source| !source.contains("LICENSE"));
        all.sort();
        all
    };
    assert_eq!(sources(&deb), sources(&rpm));
    for (source, _) in &deb {
        if let Some(path) = source.strip_prefix("../") {
            let folder = workspace::root().join(path);
            let folder = folder.parent().unwrap();
            assert!(folder.is_dir(), "{source}");
            assert!(
                path.contains('*') || workspace::root().join(path).is_file(),
                "{source}"
            );
        }
    }
    for expected in [
        "usr/bin/",
        "usr/lib/systemd/system/",
        "etc/socketvirt/",
        "usr/share/man/man1/",
    ] {
        assert!(deb.iter().any(|(_, at)| at == expected), "{expected}");
        let in_rpm = |at: &str| at.trim_start_matches('/').starts_with(expected);
        assert!(rpm.iter().any(|(_, at)| in_rpm(at)), "{expected}");
    }
}

/// Scripts of packages end well where there is no systemd, as in a container.
#[test]
fn scripts_of_packages_are_shell() {
    let scripts = [
        "debian/postinst",
        "debian/prerm",
        "debian/postrm",
        "rpm/post.sh",
        "rpm/preun.sh",
        "rpm/postun.sh",
    ];
    for script in scripts {
        let path = workspace::root().join("deploy").join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{script}");
    }
}
