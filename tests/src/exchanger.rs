//! The program `data/exchanger.c`: both ends of a connection, which do what words say.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    programs::compiled,
    run::{END, Mode, Outcome, Run, shell, workload_path},
};

/// A folder with the program; one that may splice is built with `SPLICES`.
#[must_use]
#[track_caller]
pub fn exchanger(splices: bool) -> TempDir {
    let words: &[&str] = if splices { &["-DSPLICES"] } else { &[] };
    compiled("exchanger", words)
}

/// A script of the program with these words, and of a workload beside it that is not
/// over before it was redirected.
#[must_use]
pub fn beside_workload(folder: &Path, words: &str) -> String {
    format!(
        "{}/exchanger {words} & it=$!\n\
         {} streams --io edge --phases fast@300; status=$?\n\
         echo > ${END}; wait $it || exit 1; exit $status",
        folder.display(),
        workload_path(),
    )
}

/// The program with these words is kept off for a reason, and nobody else in its
/// cgroup.
#[track_caller]
pub fn keeps_off_itself_alone(folder: &Path, words: &str, reason: &str) {
    let script = beside_workload(folder, words);
    let outcome = Run::new(Mode::Adopt, shell(&script)).success();
    let summary = outcome.summary().accelerated();
    assert_eq!(summary.left(reason), 2, "{summary}");
}

/// Runs a program that is told to go on once its connection was adopted, and to
/// end once that has left.
#[track_caller]
pub fn adopted_then_left(script: &str) -> Outcome {
    let mut running = Run::new(Mode::Adopt, shell(script)).start();
    running.until(|seen| seen.adopted > 0);
    running.go();
    running.until(|seen| seen.released > 0);
    running.end();
    let outcome = running.finish();
    outcome.success();
    outcome
}
