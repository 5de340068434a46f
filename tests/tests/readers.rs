//! Guards follow the process that reads a socket, not its neighbourhood.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use socketvirt_tests::{
    process::{PATIENCE, Process, must},
    run::{BESIDE, END, GO, Mode, Run, beside_adopted, binary, shell, workload_path},
    session::{self, Session, cgroup_root},
};
use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/exchanger.c");

/// A folder with the program; one that may splice is built with `SPLICES`.
fn exchanger(splices: bool) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let program = folder.path().join("exchanger").display().to_string();
    let mut words = vec![SOURCE, "-o", &program];
    words.extend(splices.then_some("-DSPLICES"));
    must("cc", words);
    folder
}

/// The program with these words is kept off for a reason, and nobody else in its
/// cgroup: a workload beside it is not over before it was redirected.
fn keeps_off_itself_alone(folder: &Path, words: &str, reason: &str) {
    let script = format!(
        "{}/exchanger {words} & it=$!\n\
         {} streams --io edge --phases fast@300; status=$?\n\
         echo > ${END}; wait $it || exit 1; exit $status",
        folder.display(),
        workload_path(),
    );
    let outcome = Run::new(Mode::Adopt, shell(&script)).success();
    let summary = outcome.summary().accelerated();
    assert_eq!(summary.left(reason), 2, "{summary}");
}

#[test]
fn who_could_splice_harms_nobody_else() {
    let _session = Session::beside_others();
    let folder = exchanger(true);
    keeps_off_itself_alone(folder.path(), "", "may_splice");
}

#[test]
fn who_has_a_ring_harms_nobody_else() {
    let _session = Session::beside_others();
    let folder = exchanger(false);
    keeps_off_itself_alone(folder.path(), "ring", "ring");
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
    let mut running = Run::new(Mode::Adopt, shell(&script)).start();
    running.until(|seen| seen.adopted > 0);
    running.go();
    running.until(|seen| seen.released > 0);
    running.end();
    let outcome = running.finish();
    let summary = outcome.success().summary();
    assert_eq!(summary.count("/adopted"), 1, "{summary}");
    assert_eq!(summary.count("/released"), 1, "{summary}");
}

/// An agent without `CAP_SYS_PTRACE` may not look at a service of another user:
/// what was not looked at is not harmless.
#[test]
fn who_may_not_be_looked_at_is_kept_off() {
    let _session = Session::beside_others();
    let folder = exchanger(true);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a way in");
    let here = folder.path().display();
    let script = format!(
        "unset {END}\n\
         {GO}={here}/its_go setpriv --reuid 65534 --regid 65534 --clear-groups {here}/exchanger & its=$!\n\
         until [ -e ${GO} ]; do sleep 0.05; done; echo > {here}/its_go; wait $its"
    );
    let summary = folder.path().join("summary.json");
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"])
        .arg(binary())
        .args(["exec", "--summary"])
        .arg(&summary)
        .arg("--")
        .args(beside_adopted(&script))
        .env(GO, folder.path().join("go"))
        .stdin(Stdio::null());
    let mut agent = Process::start(&mut command);
    session::started(agent.pid());
    agent.finish(PATIENCE).success();
    let summary = fs::read_to_string(summary).expect("the summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert!(!summary["left_on_stack"]["unseen"].is_null(), "{summary}");
    assert_eq!(summary["adopted"], BESIDE, "{summary}");
}
