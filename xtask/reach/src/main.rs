//! `cargo xtask reach`: real deployments, plain and accelerated in turn. How much of each takes the fast path, what
//! that brings, and what keeps the rest off.
//!
//! The servers of a deployment run all the time, in one cgroup with their client. In every second turn an agent
//! accelerates that cgroup, as `socketvirt run --mode adopt --cgroup` does; nothing else differs.

mod databases;
mod deployment;
mod kept;
mod page;
mod programs;
mod proxies;
mod report;
mod stage;
mod turns;
mod web;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::Parser;
use test_support::{
    leftovers::Traces,
    lock,
    signals::{Interrupted, Interrupts},
};
use xtask::{build, progress, setup};

use self::{deployment::Deployment, report::Report, turns::Turns};

/// Run real deployments plain and accelerated: how much of each takes the fast path, and what keeps the rest off.
#[derive(Parser)]
#[command(name = "cargo xtask reach", bin_name = "cargo xtask reach")]
struct Options {
    /// Only deployments whose name contains this; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the deployments, and run nothing
    #[arg(long)]
    list: bool,
    /// Seconds of load in each turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Rounds, each of a plain and an accelerated turn; six are the fewest that are 95% sure
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Use this binary; nothing is built
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Write the table into docs/reach.md, too; for a run of all deployments
    #[arg(long, conflicts_with = "only")]
    write: bool,
}

fn deployments() -> impl Iterator<Item = &'static Deployment> {
    web::DEPLOYMENTS
        .iter()
        .chain(proxies::DEPLOYMENTS)
        .chain(databases::DEPLOYMENTS)
}

fn main() -> ExitCode {
    progress::ended(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let chosen: Vec<_> = deployments()
        .filter(|one| {
            options.only.is_empty() || options.only.iter().any(|word| one.name.contains(word))
        })
        .collect();
    if chosen.is_empty() {
        bail!("no deployment is chosen; `cargo xtask reach --list` shows their names");
    }
    if options.list {
        for one in &chosen {
            println!("{:<16} {}", one.name, one.what);
        }
        return Ok(());
    }
    setup::require_root("socketvirt loads BPF programs, which")?;
    let binary = build::given_or_built(options.binary.as_deref())?;
    let mut report = Report::new()?;
    let mut ready = Vec::new();
    for one in chosen {
        match programs::ensure(one) {
            Ok(folder) => ready.push((one, folder)),
            Err(why) => {
                progress::note(&format!("{} is left out: {why:#}", one.name));
                report.leave_out(one.name, format!("{why:#}"));
            }
        }
    }
    progress::step("reach: waiting for tests and demos to end");
    let _alone = lock::whole_host()?;
    // From here on what is made is taken away on the way out.
    let interrupts = Interrupts::block()?;
    stage::sweep()?;
    let before = Traces::take()?;
    let mut interrupted = None;
    for (one, folder) in ready {
        progress::step(&format!("reach: {}: {}", one.name, one.what));
        let turns = Turns {
            binary: &binary,
            programs: &folder,
            interrupts: &interrupts,
            seconds: options.seconds,
            rounds: options.rounds,
        };
        match turns.run(one) {
            Ok(row) => report.add(row),
            Err(why) if why.is::<Interrupted>() => {
                interrupted = Some(why);
                break;
            }
            Err(why) => {
                progress::error(&format!("{}: {why:#}", one.name));
                report.leave_out(one.name, format!("{why:#}"));
            }
        }
    }
    progress::step("reach: looking for anything left behind");
    report.leftovers = before.new_since()?;
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.text(progress::Style::stdout()));
    }
    // What there is was shown.
    if let Some(why) = interrupted {
        return Err(why);
    }
    if options.write {
        page::write(&report)?;
    }
    report.check()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_deployment_has_a_server() {
        let names: BTreeSet<_> = deployments().map(|one| one.name).collect();
        assert_eq!(names.len(), deployments().count());
        for one in deployments() {
            assert!(!one.name.is_empty() && !one.what.is_empty());
            assert!(!one.servers.is_empty(), "{}", one.name);
        }
    }

    #[test]
    fn wheels_are_pinned() {
        for wheel in deployments().flat_map(|one| one.wheels) {
            assert!(wheel.contains("=="), "{wheel}");
        }
    }
}
