//! `cargo xtask demo`: redis and nginx under load, plain and accelerated in turn, between two containers and on
//! loopback.
//!
//! The servers run all the time, in one cgroup with their clients. In every second turn an agent accelerates that cgroup;
//! nothing else differs. The turns of a round change their order from round to round, so that a machine that slows down
//! or warms up favours neither side. Rounds go on while there is time for another one.

mod leftovers;
mod network;
mod redis;
mod report;
mod run;
mod servers;
mod stage;
mod web;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;
use test_support::{lock, signals::Interrupts};
use xtask::{build, progress, setup};

use self::{leftovers::Before, report::Report, run::Demo, stage::Stage};

#[derive(Args)]
pub struct Options {
    /// Seconds of measuring; a slow machine measures fewer rounds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// Use this binary; nothing is set up or built
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    setup::require_root("the demo loads BPF programs and makes namespaces, which")?;
    let binary = build::given_or_built(options.binary.as_deref())?;
    progress::step("demo: waiting for other demos and tests to end");
    let _alone = lock::whole_host()?;
    // From here on what is made is taken away on the way out.
    let interrupts = Interrupts::block()?;
    stage::sweep()?;
    let before = Before::take()?;
    let mut report = measure(binary, options.seconds, &interrupts)?;
    progress::step("demo: looking for anything left behind");
    report.leftovers = before.new_since()?;
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.text(progress::Style::stdout()));
    }
    report.verdict()
}

fn measure(binary: PathBuf, seconds: u64, interrupts: &Interrupts) -> Result<Report> {
    progress::step(
        "demo: two containers on a bridge, an address of nftables for their services, redis and nginx",
    );
    let mut stage = Stage::set(interrupts)?;
    servers::start(&mut stage)?;
    progress::step(&format!(
        "demo: {seconds} s of rounds, plain and accelerated in turn"
    ));
    Demo::new(binary, &stage, interrupts).run(Duration::from_secs(seconds))
}
