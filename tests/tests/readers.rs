//! Guards follow the process that reads a socket, not its neighbourhood.

use std::path::Path;

use socketvirt_tests::{
    process::must,
    run::{BESIDE, END, Mode, Run, beside_adopted, shell, workload_path},
    session::{Session, cgroup_root},
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
    assert_eq!(summary.left("may_splice"), 2, "{summary}");
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
    std::fs::write(&source, code).expect("the source");
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
