//! A habit that a program has shown keeps its next connections on plain TCP.

use socketvirt_tests::{
    programs::free_port,
    run::{Mode, Outcome, Run, binary, shell, workload, workload_path},
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

/// Discarding is seen before anything is adopted.
#[test]
fn flags_of_receive_calls_in_adopt_mode() {
    remembered(Mode::Adopt, "--shows discards", "stack", "discards");
}

/// A call that asks for urgent data where there is none reads nothing of a plain
/// socket, and is seen on an enrolled one.
#[test]
fn asking_for_urgent_data_in_mid_life() {
    remembered(Mode::Adopt, "--shows urgent-asked", "fast", "urgent");
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
