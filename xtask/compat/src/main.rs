//! `cargo xtask compat`: real programs and their own test suites, plain and below `socketvirt exec`.
//!
//! Each program runs by itself, then in both modes, and what it finds (see [`facts`]) must be equal.
//! Where it is not, plain and accelerated runs are repeated, so that a fact that is unsteady by
//! itself is told from a difference.

mod cpython;
mod databases;
mod facts;
mod judge;
mod program;
mod proxies;
mod report;
mod runtimes;
mod sandbox;
mod transfer;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use test_support::leftovers::Traces;
use xtask::{build, progress, setup, workspace};

use self::{
    program::{Program, Side},
    report::{Report, Row, Runs},
    sandbox::{Finished, Sandbox},
};

/// Run real programs and their test suites plain and accelerated; their results must be equal.
#[derive(Parser)]
#[command(name = "cargo xtask compat", bin_name = "cargo xtask compat")]
struct Options {
    /// Only programs whose name contains this; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the programs, and run nothing
    #[arg(long)]
    list: bool,
    /// The short selection that `cargo xtask test` runs
    #[arg(long)]
    short: bool,
    /// Number of runs of a side where something differs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Use this binary; nothing is built
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

fn programs() -> impl Iterator<Item = &'static Program> {
    cpython::PROGRAMS
        .iter()
        .chain(databases::PROGRAMS)
        .chain(proxies::PROGRAMS)
        .chain(runtimes::PROGRAMS)
        .chain(transfer::PROGRAMS)
}

fn main() -> ExitCode {
    progress::ended(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let chosen: Vec<_> = programs()
        .filter(|program| options.chooses(program))
        .collect();
    if chosen.is_empty() {
        bail!("no program is chosen; `cargo xtask compat --list` shows their names");
    }
    if options.list {
        print!("{}", report::list(&chosen));
        return Ok(());
    }
    setup::require_root("socketvirt loads BPF programs, which")?;
    let binary = build::given_or_built(options.binary.as_deref())?;
    let packages: Vec<_> = chosen
        .iter()
        .flat_map(|program| program.packages)
        .copied()
        .collect();
    setup::run_extra(&packages)?;
    let cache = workspace::target_dir()?.join("compat");
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;

    sandbox::sweep(&env::temp_dir())?;
    let before = Traces::take()?;
    let sandbox = Sandbox {
        binary: &binary,
        cache: &cache,
        short: options.short,
    };
    let mut report = Report::default();
    for program in &chosen {
        report.add(one(&sandbox, program, options.runs, &cache)?);
    }
    progress::step("compat: looking for anything left behind");
    report.leftovers = before.new_since()?.found;
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.text(progress::Style::stdout()));
    }
    report.check()
}

impl Options {
    fn chooses(&self, program: &Program) -> bool {
        let named =
            self.only.is_empty() || self.only.iter().any(|word| program.name.contains(word));
        named && (!self.short || program.short.is_some())
    }
}

/// All runs of one program.
fn one(sandbox: &Sandbox<'_>, program: &'static Program, most: u8, cache: &Path) -> Result<Row> {
    progress::step(&format!("compat: {}: {}", program.name, program.what));
    if let Some(prepare) = program.prepare
        && let Err(error) = prepare(cache)
    {
        progress::note(&format!("left out: {error:#}"));
        return Ok(Row::left_out(program, format!("{error:#}")));
    }
    let mut runs = Runs::default();
    // A program that eager is known to break as a whole takes long to break, and tells nothing new.
    let hopeless = sandbox.short && program.known(Side::Eager, "").is_some();
    let sides: &[Side] = if hopeless {
        &[Side::Plain, Side::Adopt]
    } else {
        &[Side::Plain, Side::Adopt, Side::Eager]
    };
    for &side in sides {
        runs.add(side, step(sandbox, program, side)?);
    }
    for side in Side::ACCELERATED {
        let mut done = 1;
        // An unknown difference: is it unsteady by itself, and does it come again?
        while done < most && !runs.unknown(program, side).is_empty() {
            done += 1;
            if runs.plain.len() < done.into() {
                runs.add(Side::Plain, step(sandbox, program, Side::Plain)?);
            }
            runs.add(side, step(sandbox, program, side)?);
        }
    }
    let row = Row::new(program, &runs);
    progress::note(&row.line());
    Ok(row)
}

fn step(sandbox: &Sandbox<'_>, program: &Program, side: Side) -> Result<Finished> {
    let finished = sandbox.run(program, side)?;
    let end = finished.facts.get(facts::END).unwrap_or_default();
    progress::note(&format!(
        "{:<6} {} results, {end} ({})",
        side.word(),
        finished.facts.len() - 1,
        progress::elapsed(finished.took)
    ));
    if end != facts::SUCCESS {
        finished
            .tail
            .lines()
            .for_each(|line| progress::note(&format!("  | {line}")));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_files_begin_with_the_main_one() {
        let names: BTreeSet<_> = programs().map(|program| program.name).collect();
        assert_eq!(names.len(), programs().count());
        for program in programs() {
            let files: Vec<_> = program.files.iter().map(|(name, _)| *name).collect();
            assert_eq!(files[..2], ["main.py", "compat.py"], "{}", program.name);
        }
    }

    #[test]
    fn one_program_is_excused_in_adopt_mode() {
        let excused =
            |program: &&Program| program.known.iter().any(|k| k.sides.contains(&Side::Adopt));
        let names: Vec<_> = programs()
            .filter(excused)
            .map(|program| program.name)
            .collect();
        assert_eq!(names, ["python-switch"]);
    }
}
