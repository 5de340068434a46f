//! `ip netns exec` gives a program a `/sys` of its own, on which neither cgroup v2
//! nor the BPF file system is mounted.

use std::process::{Command, Stdio};

use socketvirt_tests::{
    netns::Netns,
    process::{Finished, Process},
    run::{binary, workload_path},
    session::{self, Session},
    table::keep::PATIENCE,
};

fn inside(netns: &Netns, args: &[&str]) -> Finished {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns.name()]).arg(binary());
    command.args(args).stdin(Stdio::null());
    let mut process = Process::start(&mut command);
    // `ip` becomes what it executes.
    session::started(process.pid());
    process.finish(PATIENCE)
}

#[test]
fn exec_works_in_ip_netns_exec() {
    let _session = Session::start();
    let netns = Netns::new("hidden");
    let folder = tempfile::tempdir().expect("a directory");
    let summary = folder.path().join("summary.json");
    let (file, workload) = (summary.display().to_string(), workload_path());
    // The program sees the same as without us.
    let script = format!(
        "{workload} streams --connections 2 --phases pp:800@200 && \
         cat /proc/mounts | grep -c -E ' (cgroup2|bpf) '; true"
    );
    let finished = inside(
        &netns,
        &["exec", "--summary", &file, "--", "sh", "-c", &script],
    );
    finished.success();
    assert!(finished.stdout.ends_with("\n0\n"), "{}", finished.report());
    let text = std::fs::read_to_string(&summary).expect("a summary");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["adopted"], 2, "{text}");
}

/// Doctor says what is there, and knows the agents of the host.
#[test]
fn doctor_and_table_work_in_ip_netns_exec() {
    let _session = Session::start();
    let netns = Netns::new("hidden");
    let finished = inside(&netns, &["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", finished.report()));
    let found = |name: &str| {
        let all = report["requirements"].as_array().expect("a list");
        let one = all.iter().find(|one| one["name"] == name);
        one.unwrap_or_else(|| panic!("{report}"))["found"].to_string()
    };
    for name in ["cgroup", "bpffs"] {
        assert!(found(name).contains(", of process "), "{}", found(name));
    }
    inside(&netns, &["table"]).success();
}
