//! Programs that could splice are kept off from their first connection,
//! however they come to be: it gets nothing out of an enrolled socket.

use std::path::Path;

use socketvirt_tests::{
    live::Counters,
    process::must,
    programs::compiled,
    run::{GO, Mode, Run, shell, workload_path},
    session::{Session, cgroup_root},
};
use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/splicer.c");

/// A folder with the program: one that splices, or one that leaves it to a
/// library that it is linked to.
fn splicer(by_library: bool) -> TempDir {
    if !by_library {
        return compiled("splicer", &[]);
    }
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (program, library) = (at("splicer"), at("libmove.so"));
    let words = ["-shared", "-fPIC", "-DLIBRARY", SOURCE, "-o", &library];
    must("cc", words);
    let path = format!("-Wl,-rpath,{}", folder.path().display());
    must(
        "cc",
        ["-DWITHOUT_SPLICE", SOURCE, "-o", &program, &library, &path],
    );
    folder
}

/// The script, to which the program is `$splicer`, its folder `$here` and the
/// number of its messages `$n`, ends well in every mode, and the program is kept
/// off for what it is. It runs again with more messages until that was seen.
fn kept_off(folder: &Path, script: &str) {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        let here = folder.display();
        let script = format!(
            "here={here} splicer={here}/splicer n=300\n\
             while :; do\n( set -e; {script} ) || exit 1\n\
             [ -e ${GO} ] && break; n=$((2 * n))\ndone"
        );
        // Met before it was inspected, or after.
        let told = |seen: &Counters| seen.left("may_splice") + seen.left("not_inspected") > 0;
        Run::new(mode, shell(&script)).until(told).success();
    }
}

#[test]
fn at_once() {
    let folder = splicer(false);
    kept_off(folder.path(), "for i in 1 2 3; do $splicer $n; done");
}

#[test]
fn by_a_library() {
    let folder = splicer(true);
    kept_off(folder.path(), "$splicer $n");
}

/// Its process was inspected when it was another program. What comes later in
/// its cgroup is not adopted any more.
#[test]
fn in_a_process_that_was_inspected() {
    let folder = splicer(false);
    let harmless = format!(
        "test $n = 300 && phase=fast || phase=pp:100\n\
         {} streams --io edge --phases $phase@300; exec $splicer $n",
        workload_path()
    );
    kept_off(folder.path(), &harmless);
}

/// It comes from another cgroup, where nothing looks at it.
#[test]
fn moved_into_the_cgroup() {
    let folder = splicer(false);
    let script = format!(
        "top={}\n\
         own=$top$(sed -n 's/^0:://p' /proc/self/cgroup)\n\
         rm -f $here/in $here/out; mkfifo $here/in $here/out\n\
         sh -c \"echo \\$\\$ > $top/cgroup.procs; exec $splicer $n waits\" < $here/in > $here/out & pid=$!\n\
         exec 3> $here/in 4< $here/out; read line <&4; test $line = ready\n\
         echo $pid > $own/cgroup.procs; echo go >&3; wait $pid",
        cgroup_root().display()
    );
    kept_off(folder.path(), &script);
}

/// A tool that splices between pipes, and cannot come by a socket.
#[test]
fn beside_one_that_splices_pipes() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let script = format!(
            "set -e; for i in 1 2 3; do echo yes | grep -q yes; done\n\
             {} streams --io edge --connections 4 --phases fast@500",
            workload_path()
        );
        let outcome = Run::new(mode, shell(&script)).success();
        let summary = outcome.summary();
        summary.accelerated();
        assert_eq!(summary.left("may_splice"), 0, "{summary}");
    }
}

/// Programs that begin all the time in its cgroup do not keep another one off
/// for good: what is not enrolled at the handshake for them is adopted.
#[test]
fn beside_programs_that_begin() {
    let _session = Session::beside_others();
    for mode in Mode::ACCELERATED {
        let script = format!(
            "(while :; do /bin/true; done) & busy=$!; trap 'kill $busy' EXIT\n\
             {} streams --io edge --connections 4 --phases fast@500",
            workload_path()
        );
        let outcome = Run::new(mode, shell(&script)).success();
        outcome.summary().accelerated();
    }
}
