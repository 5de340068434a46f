//! What a program has shown once keeps its next connections on plain TCP.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use socketvirt_tests::{
    process::{Process, must, until},
    programs::free_port,
    run::{GO, Mode, Outcome, Run, beside_adopted, binary, shell, workload, workload_path},
    session::{self, Session},
};

/// The paths of the first, the second, and another program's connection.
#[track_caller]
fn paths(mode: Mode, args: &str) -> (Outcome, [String; 3]) {
    let _session = Session::beside_others();
    let outcome = Run::new(mode, workload(&format!("habit {args}"))).success();
    let told: serde_json::Value =
        serde_json::from_str(&outcome.finished.stdout).expect("a line of JSON");
    let paths = ["first", "second", "other"].map(|name| told[name].to_string());
    (outcome, paths.map(|path| path.trim_matches('"').to_owned()))
}

/// The second connection stays on the stack, for this reason.
#[track_caller]
fn remembered(mode: Mode, args: &str, first: &str, reason: &str) {
    let (outcome, paths) = paths(mode, args);
    let summary = outcome.summary();
    assert_eq!(paths, [first, "stack", "fast"], "{summary}");
    assert!(summary.left(reason) > 0, "{summary}");
}

#[test]
fn nothing_is_remembered_of_others() {
    let (outcome, paths) = paths(Mode::Adopt, "--shows nothing");
    assert_eq!(paths, ["stack", "fast", "fast"], "{}", outcome.summary());
}

#[test]
fn splice() {
    remembered(Mode::Adopt, "--shows splice", "stack", "splice");
}

#[test]
fn a_low_water_mark_in_mid_life() {
    remembered(Mode::Adopt, "--shows rcvlowat", "fast", "rcvlowat");
}

/// Below the mark, an enrolled socket's stack bytes are stuck.
#[test]
fn a_mark_that_no_message_reaches() {
    remembered(Mode::Adopt, "--shows high-mark", "fast", "rcvlowat");
}

#[test]
fn blocking_in_mid_life() {
    remembered(Mode::Adopt, "--shows blocks", "fast", "blocking");
}

#[test]
fn an_owner_for_signals() {
    remembered(Mode::Adopt, "--shows owner", "stack", "signal_driven");
}

#[test]
fn unread_bytes_at_close() {
    remembered(Mode::Adopt, "--shows unread", "fast", "closed_unread");
}

/// The end of the stream lies in the queue of an enrolled socket like a
/// message, and is no unread byte.
#[test]
fn closing_second_is_no_habit() {
    let (outcome, paths) = paths(Mode::Adopt, "--shows closes-second");
    assert_eq!(paths, ["fast"; 3], "{}", outcome.summary());
}

#[test]
fn flags_of_receive_calls() {
    for (args, reason) in [
        ("--eager --blocking --shows wait-all", "wait_all"),
        ("--eager --shows urgent", "urgent"),
    ] {
        remembered(Mode::Eager, args, "stack", reason);
    }
}

/// Discarding and asking for urgent data are seen before anything is adopted.
#[test]
fn flags_of_receive_calls_in_adopt_mode() {
    for (args, reason) in [
        ("--shows discards", "discards"),
        ("--shows urgent", "urgent"),
    ] {
        remembered(Mode::Adopt, args, "stack", reason);
    }
}

/// A connection that has had urgent data tells it at any later time.
#[test]
fn urgent_data_in_early_life() {
    remembered(Mode::Adopt, "--shows urgent-came", "stack", "urgent");
}

#[test]
fn urgent_data_in_mid_life() {
    remembered(Mode::Adopt, "--shows urgent-sent", "fast", "urgent");
}

/// The same program in another cgroup, as when a service is started again: what
/// it has shown is known before its first connection there.
#[test]
fn an_executable_is_known_again() {
    let _session = Session::beside_others();
    let workload = format!(
        "{} habit --listen 127.0.0.1:{}",
        workload_path(),
        free_port()
    );
    let script = format!(
        "{workload} --shows discards || exit 1\n\
         own={}$(sed -n s/^0:://p /proc/self/cgroup)\n\
         mkdir $own/again && sh -c \"echo \\$\\$ > $own/again/cgroup.procs; exec {workload} --shows nothing\"\n\
         status=$?; rmdir $own/again; exit $status",
        session::cgroup_root().display(),
    );
    let outcome = Run::new(Mode::Adopt, shell(&script)).success();
    let told: Vec<_> = outcome.finished.stdout.lines().collect();
    let kept_off = r#"{"first":"stack","second":"stack","other":"fast"}"#;
    assert_eq!(told, [kept_off; 2], "{}", outcome.summary());
}

/// Compiles C code that may use GNU's functions.
fn compile(folder: &Path, name: &str, code: &str, options: &[&str]) -> PathBuf {
    let (source, made) = (folder.join("source.c"), folder.join(name));
    fs::write(&source, format!("#define _GNU_SOURCE\n{code}")).expect("the source");
    let files = [source.as_os_str(), "-o".as_ref(), made.as_os_str()];
    must("cc", options.iter().map(OsStr::new).chain(files));
    made
}

/// Traffic that lasts as long as others are adopted.
const WAITS: &str = "streams --io edge --phases pp:1@300!go";

/// A program that could splice keeps all of its cgroup off: it would hang on
/// the first connection.
#[test]
fn the_executable_tells_of_splice() {
    let _session = Session::beside_others();
    let folder = tempfile::tempdir().expect("a directory");
    let program = compile(
        folder.path(),
        "splicer",
        "#include <fcntl.h>\n#include <sys/socket.h>\n#include <unistd.h>\n\
         int main(int n, char **a) {\n\
         return n > 9 ? splice(socket(n, n, n), 0, n, 0, 1, 0) : pause(); }\n",
        &[],
    );
    let script = format!(
        "{} & pid=$!; {} {WAITS}; status=$?; kill $pid; exit $status",
        program.display(),
        workload_path(),
    );
    let outcome = Run::new(Mode::Adopt, beside_adopted(&script)).success();
    outcome.left_alone("may_splice");
}

/// One that could send by `io_uring` from its own pages does the same: that is
/// refused to a socket for good, once it was enrolled. It may have begun before.
#[test]
fn a_ring_is_told_of() {
    let _session = Session::beside_others();
    let folder = tempfile::tempdir().expect("a directory");
    let program = compile(
        folder.path(),
        "ring",
        "#include <stdio.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
         int main(void) { char parameters[120] = \"\";\n\
         if (syscall(SYS_io_uring_setup, 2, parameters) < 0) return 1;\n\
         puts(\"made\"); fflush(stdout); for (;;) pause(); }\n",
        &[],
    );
    let workload = format!("{} {WAITS}", workload_path());
    let inside = format!("{} > /dev/null & pid=$!; {workload}", program.display());
    let before = Process::start(&mut Command::new(&program));
    until("a ring", || before.stdout().contains("made"));
    let joins = format!(
        "pid={}; echo $pid > {}$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.procs; {workload}",
        before.pid(),
        session::cgroup_root().display(),
    );
    for script in [inside, joins] {
        let script = format!("{script}; status=$?; kill $pid; exit $status");
        let outcome = Run::new(Mode::Adopt, beside_adopted(&script)).success();
        outcome.left_alone("ring");
    }
}

/// It may come to splice(2) by a library, and late.
#[test]
fn a_library_loaded_later_tells_of_splice() {
    let _session = Session::beside_others();
    let folder = tempfile::tempdir().expect("a directory");
    let library = compile(
        folder.path(),
        "library.so",
        "#include <fcntl.h>\nlong out_of(int n) { return splice(n, 0, n, 0, 1, 0); }\n",
        &["-shared", "-fPIC"],
    );
    let program = compile(
        folder.path(),
        "loader",
        "#include <dlfcn.h>\n#include <signal.h>\n#include <sys/socket.h>\n#include <unistd.h>\n\
         static void nothing(int n) {}\n\
         int main(int n, char **a) { signal(SIGUSR1, nothing); pause();\n\
         if (n > 9) return socket(n, n, n);\n\
         if (!dlopen(a[1], RTLD_NOW)) return 1;\n\
         for (;;) pause(); }\n",
        &[],
    );
    // The first connections show that the program was looked at before.
    let workload = format!("{} streams --io edge", workload_path());
    let script = format!(
        "{} {} & pid=$!; {workload} --phases fast@300 && kill -USR1 $pid && \
         until [ -e ${GO} ]; do {workload} --phases pp:100@300 || break; done; \
         status=$?; kill $pid || exit 1; exit $status",
        program.display(),
        library.display(),
    );
    let outcome = Run::new(Mode::Adopt, shell(&script))
        .until(|seen| seen.left("may_splice") > 0)
        .success();
    let summary = outcome.summary().accelerated();
    assert!(summary.left("may_splice") > 0, "{summary}");
}

/// socketvirt's own commands may be used beside the programs.
#[test]
fn own_commands_keep_nothing_off() {
    let _session = Session::beside_others();
    let script = format!(
        "{} table --json > /dev/null && {} streams --io edge --phases fast@300",
        binary().display(),
        workload_path(),
    );
    let outcome = Run::new(Mode::Adopt, shell(&script)).success();
    outcome.summary().accelerated();
}
