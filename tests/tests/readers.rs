//! Guards follow the process that reads a socket, not its neighbourhood.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use socketvirt_tests::{
    cgroup::Apart,
    exchanger::{adopted_then_left, exchanger, keeps_off_itself_alone},
    live::Counters,
    process::{PATIENCE, Process, must, until},
    run::{BESIDE, END, GO, Mode, Run, beside_adopted, binary, shell},
    session::{self, Session, cgroup_root},
    table::kept_for,
};

#[test]
fn who_could_splice_harms_nobody_else() {
    let _session = Session::beside_others();
    let folder = exchanger(true);
    keeps_off_itself_alone(folder.path(), "", "may_splice");
}

/// The socket has its listener's cgroup, the reader is in another one; and a
/// descriptor that was inherited or sent has its maker's.
#[test]
fn a_splicer_that_inherits_its_listener_is_found() {
    let _session = Session::beside_others();
    let folder = exchanger(true);
    let script = format!(
        "unset {END}; moved={root}$(sed -n s/^0:://p /proc/self/cgroup)/moved\n\
         mkdir $moved || exit 1\n\
         {}/exchanger supervise $moved/cgroup.procs; status=$?\n\
         rmdir $moved; exit $status",
        folder.path().display(),
        root = cgroup_root().display(),
    );
    let outcome = Run::new(Mode::Adopt, beside_adopted(&script)).success();
    let summary = outcome.summary();
    // The end that has spliced since says so.
    let left = summary.left("may_splice") + summary.left("splice");
    assert_eq!(left, 2, "{summary}");
    assert_eq!(summary.count("/adopted"), BESIDE, "{summary}");
}

/// It may come to splice(2) by a library, and late: its sockets leave.
#[test]
fn a_library_loaded_later_tells_of_splice() {
    let _session = Session::beside_others();
    let folder = exchanger(false);
    let source = folder.path().join("library.c").display().to_string();
    let library = folder.path().join("library.so").display().to_string();
    let code = "#define _GNU_SOURCE\n#include <fcntl.h>\n\
                long out_of(int n) { return splice(n, 0, n, 0, 1, 0); }\n";
    fs::write(&source, code).expect("the source");
    must("cc", ["-shared", "-fPIC", &source, "-o", &library]);
    let script = format!("{}/exchanger {library}", folder.path().display());
    let outcome = adopted_then_left(&script);
    let summary = outcome.summary();
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
    assert_eq!(summary.count("/released"), 1, "{summary}");
}

/// An enrolled socket cannot be put into a map of its program's own. The program is
/// remembered by its map: its next sockets stay plain, also those of a process
/// that has none yet.
#[test]
fn a_map_of_sockets_is_found_and_remembered() {
    let _session = Session::beside_others();
    let folder = exchanger(false);
    let script = format!("exec {}/exchanger map", folder.path().display());
    let outcome = adopted_then_left(&script);
    let summary = outcome.summary();
    let said = outcome.finished.stdout.as_str();
    assert_eq!(said, "Device or resource busy\ntaken\n");
    assert_eq!(summary.count("/pairs"), 3, "{summary}");
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
    assert_eq!(summary.count("/released"), 1, "{summary}");
}

/// An agent without `CAP_SYS_PTRACE` may not look at a service of another user:
/// what was not inspected is not harmless.
#[test]
fn who_may_not_be_inspected_is_kept_off() {
    let _session = Session::beside_others();
    let folder = exchanger(true);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a way in");
    let here = folder.path().display();
    for mode in Mode::ACCELERATED {
        let [go, its_go] = ["go", "its_go"].map(|name| format!("{here}/{mode}-{name}"));
        let script = format!(
            "unset {END}\n\
             {GO}={its_go} setpriv --reuid 65534 --regid 65534 --clear-groups {here}/exchanger & its=$!\n\
             until [ -e ${GO} ]; do sleep 0.05; done; echo > {its_go}; wait $its"
        );
        let summary = folder.path().join("summary.json");
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"])
            .arg(binary())
            .args(["exec", "--mode", mode.word(), "--summary"])
            .arg(&summary)
            .arg("--")
            .args(beside_adopted(&script))
            .env(GO, go)
            .stdin(Stdio::null());
        let mut agent = Process::start(&mut command);
        session::started(agent.pid());
        agent.finish(PATIENCE).success();
        let summary = fs::read_to_string(summary).expect("the summary");
        let summary: Value = serde_json::from_str(&summary).expect("JSON");
        let left = &summary["left_on_stack"];
        // A handshake may come before the look that finds it cannot look.
        let too_early = mode == Mode::Eager && !left["not_inspected"].is_null();
        assert!(too_early || !left["unseen"].is_null(), "{summary}");
        assert_eq!(summary["adopted"], BESIDE, "{summary}");
    }
}

/// `socketvirt run` in a pid namespace of its own.
struct InOwnPids {
    process: Process,
    /// Its number outside.
    number: String,
}

impl InOwnPids {
    /// Its number inside, which names what it makes.
    const FIRST: Pid = Pid::from_raw(1);

    /// It accelerates when this returns.
    fn run(mode: Mode, cgroup: &Path) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .arg(binary())
            .args(["run", "--mode", mode.word(), "--cgroup"])
            .arg(cgroup)
            .stdin(Stdio::null());
        let process = Process::start(&mut command);
        session::started(Self::FIRST);
        until("the agent accelerates", || {
            process.stderr().contains("accelerating")
        });
        let number = must("pgrep", ["-P", &process.pid().to_string()]);
        let number = number.trim().to_owned();
        Self { process, number }
    }

    /// Ends it, and returns its last words.
    fn end(mut self) -> String {
        must("kill", ["-INT", &self.number]);
        let ended = self.process.finish(PATIENCE);
        ended.success().stderr.clone()
    }
}

/// An agent in a pid namespace of its own does not see who reads outside of it,
/// and keeps these sockets off. An agent outside is not dead to it, nor it to one.
#[test]
fn who_is_in_another_pid_namespace_is_kept_off() {
    let _session = Session::start();
    let (folder, harmless) = (exchanger(true), exchanger(false));
    let harmless = harmless.path().join("exchanger");
    let mut outside = Run::new(Mode::Adopt, vec![harmless.clone().into()]).start();
    outside.until(|seen| seen.adopted == 1);

    let apart = Apart::new();
    let (go, end) = (folder.path().join("go"), folder.path().join("end"));
    let mut command = Command::new(folder.path().join("exchanger"));
    let mut unseen = Process::start(command.env(GO, &go));
    let agent = InOwnPids::run(Mode::Adopt, apart.path());
    // A start clears what agents that are gone have left.
    Run::new(Mode::Adopt, shell("true")).success();
    assert!(Counters::of(InOwnPids::FIRST).is_some(), "taken for dead");

    let mut command = Command::new("nsenter");
    command.args(["--pid", "--target", &agent.number]);
    command.arg(&harmless).env(GO, &go).env(END, &end);
    let mut seen = Process::start(&mut command);
    until("each pair was judged", || {
        let adopted = Counters::of(InOwnPids::FIRST).map_or(0, |counters| counters.adopted);
        adopted > 1 || adopted == 1 && kept_for("unseen") > 0
    });
    fs::write(&go, "").expect("the sign to go on");
    unseen.finish(PATIENCE).success();
    fs::write(&end, "").expect("the sign to end");
    seen.finish(PATIENCE).success();
    let said = agent.end();
    // Among those seen are pairs of the self-test of the start.
    assert!(said.contains(" 1 accelerated, 0 released"), "{said}");

    // At a handshake it could not even have inspected it.
    let said = InOwnPids::run(Mode::Eager, apart.path()).end();
    assert!(said.contains("eager mode is not used"), "{said}");
    assert!(
        said.contains("accelerating in mode adopt instead of eager"),
        "{said}"
    );
    assert!(said.contains("mode adopt (asked for: eager)"), "{said}");

    outside.end();
    let outcome = outside.finish();
    let summary = outcome.success().summary();
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
    assert_eq!(summary.count("/released"), 0, "{summary}");
}

/// A cgroup that goes with this value.
struct Outside(PathBuf);

impl Drop for Outside {
    fn drop(&mut self) {
        // It is busy as long as a process of it is not quite dead.
        until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// An agent in a cgroup namespace of its own takes the top that it sees for all
/// there is: sockets elsewhere get no callbacks of its programs, and stay plain.
#[test]
fn who_is_outside_a_private_cgroup_namespace_is_left_alone() {
    let _session = Session::start();
    let outside = Outside(cgroup_root().join(format!("svt-outside-{}", std::process::id())));
    fs::create_dir(&outside.0).expect("a cgroup");
    let apart = Apart::new();
    let folder = exchanger(false);
    let end = folder.path().join("end");
    let exchange = |cgroup: &Path| {
        let script = "echo $$ > $0/cgroup.procs && exec $1/exchanger";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(cgroup).arg(folder.path());
        Process::start(command.env(END, &end))
    };
    let mut elsewhere = exchange(&outside.0);
    let mut within = exchange(apart.path());
    let connected = || must("ss", ["-Htnp", "state", "established"]);
    until("both are connected", || {
        let all = connected();
        [&elsewhere, &within].iter().all(|pair| {
            let owner = format!("pid={},", pair.pid());
            all.lines().filter(|line| line.contains(&owner)).count() == 2
        })
    });
    let script = "umount -l $1 && mount -t cgroup2 none $1 && exec $0 run --mode adopt";
    let mut command = Command::new("unshare");
    command
        .args(["--cgroup", "--mount", "sh", "-c", script])
        .arg(binary())
        .arg(cgroup_root())
        .stdin(Stdio::null());
    let mut agent = Process::start(&mut command);
    session::started(agent.pid());
    until("the agent accelerates", || {
        agent.stderr().contains("accelerating")
    });
    // One walk finds those that are older than the agent.
    until("those inside are adopted", || {
        Counters::of(agent.pid()).is_some_and(|seen| seen.adopted > 0)
    });
    fs::write(&end, "").expect("the sign to end");
    within.finish(PATIENCE).success();
    elsewhere.finish(PATIENCE).success();
    agent.signal(Signal::SIGINT);
    let ended = agent.finish(PATIENCE);
    let said = ended.success().stderr.as_str();
    assert!(said.contains("pairs      1 seen, 1 accelerated"), "{said}");
}
