//! The integration tests, each as a process of its own: those that see only what is theirs run in lanes beside
//! one another, those that look at the whole host one at a time. What a test prints is shown when it fails.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use test_support::command;
use xtask::progress;

use super::programs::Program;

/// Tests at a time. More would not be done earlier: they keep CPUs busy.
const LANES: usize = 2;

/// The programs whose tests look at no sockets but their own. The longest first, so that no lane is left with it.
const BESIDE_OTHERS: [&str; 12] = [
    "conformance",
    "real_programs",
    "exact_streams",
    "namespaces",
    "splicers",
    "handshake_variants",
    "closing",
    "readers",
    "readiness",
    "habits",
    "resend",
    "summary",
];

/// One test of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    program: Program,
    name: String,
}

/// The outcome of one.
struct Outcome {
    test: Test,
    passed: bool,
    took: Duration,
    output: String,
}

/// Runs all of them; fails when one does.
pub fn run(programs: &[Program], binary: &Path) -> Result<()> {
    let start = Instant::now();
    let (beside, alone) = divided(tests(programs)?);
    let mut outcomes = lanes(beside, LANES, binary)?;
    outcomes.extend(lanes(alone, 1, binary)?);
    let failed: Vec<_> = outcomes.iter().filter(|one| !one.passed).collect();
    for one in &failed {
        progress::step(&format!("test: {} failed", one.test.title()));
        one.output.lines().for_each(progress::note);
    }
    let (passed, failed) = (outcomes.len() - failed.len(), failed.len());
    let took = progress::elapsed(start.elapsed());
    progress::note(&format!("{passed} passed, {failed} failed in {took}"));
    ensure!(failed == 0, "{passed} passed, {failed} failed");
    Ok(())
}

impl Test {
    fn title(&self) -> String {
        format!("{}::{}", self.program.target, self.name)
    }

    fn run(&self, binary: &Path) -> Result<Outcome> {
        let start = Instant::now();
        let output = self
            .program
            .command()
            .args(["--exact", &self.name, "--test-threads=1", "--color=never"])
            .env("SOCKETVIRT_BIN", binary)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {}", self.title()))?;
        Ok(Outcome {
            test: self.clone(),
            passed: output.status.success(),
            took: start.elapsed(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }
}

impl Outcome {
    fn tell(&self) {
        let word = if self.passed { "ok" } else { "FAILED" };
        let seconds = self.took.as_secs_f32();
        progress::note(&format!(
            "{word:<6} {seconds:>6.1} s  {}",
            self.test.title()
        ));
    }
}

/// Those that run beside others, in the order of [`BESIDE_OTHERS`], and the rest.
fn divided(all: Vec<Test>) -> (Vec<Test>, Vec<Test>) {
    let place = |test: &Test| {
        BESIDE_OTHERS
            .iter()
            .position(|name| *name == test.program.target)
    };
    let (mut beside, alone): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|test| place(test).is_some());
    beside.sort_by_key(place);
    (beside, alone)
}

/// Takes one after another, `count` at a time.
fn lanes(tests: Vec<Test>, count: usize, binary: &Path) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(tests.into_iter());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.next()
    };
    let lane = || -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        while let Some(test) = next() {
            let outcome = test.run(binary)?;
            outcome.tell();
            outcomes.push(outcome);
        }
        Ok(outcomes)
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..count).map(|_| scope.spawn(lane)).collect();
        let mut all = Vec::new();
        for lane in lanes {
            match lane.join() {
                Ok(outcomes) => all.extend(outcomes?),
                Err(_) => bail!("a lane of tests panicked"),
            }
        }
        Ok(all)
    })
}

/// Every test of these programs.
fn tests(programs: &[Program]) -> Result<Vec<Test>> {
    let mut all = Vec::new();
    for program in programs {
        let list = command::output(Command::new(&program.path).arg("--list"))?;
        all.extend(names(&list).map(|name| Test {
            program: program.clone(),
            name: name.to_owned(),
        }));
    }
    ensure!(!all.is_empty(), "there are no integration tests");
    Ok(all)
}

/// The names in what a test program lists.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.strip_suffix(": test"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn names_are_taken_from_a_list() {
        let list = "at_once: test\nby_a_library: test\n\n2 tests, 0 benchmarks\n";
        let names: Vec<_> = names(list).collect();
        assert_eq!(names, ["at_once", "by_a_library"]);
    }

    #[test]
    fn only_those_that_may_run_beside_others() {
        let test = |target: &str| Test {
            program: Program {
                package: PathBuf::new(),
                target: target.into(),
                path: PathBuf::new(),
            },
            name: String::new(),
        };
        let all = ["splicers", "lifecycle", "conformance", "table_life"].map(test);
        let (beside, alone) = divided(all.to_vec());
        assert_eq!(beside, ["conformance", "splicers"].map(test));
        assert_eq!(alone, ["lifecycle", "table_life"].map(test));
    }
}
