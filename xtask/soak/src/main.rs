//! `cargo xtask soak`: mixed real traffic for an hour, each byte checked, while agents are started, ended and killed,
//! memory and CPUs are taken away, connections come in storms, namespaces come and go, and maps are full.

mod agent;
mod faults;
mod kernel;
mod place;
mod press;
mod report;
mod run;
mod servers;
mod traffic;

use std::{
    fs,
    path::PathBuf,
    process::{self, ExitCode},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use test_support::{leftovers::Traces, lock, netns};
use xtask::{build, progress, setup, workspace};

use self::{
    faults::SPACE, kernel::Kernel, place::Place, report::Report, run::Soak, traffic::Programs,
};

/// The kernel frees sockets after a grace period, and their memory later still.
const SETTLE: Duration = Duration::from_mins(2);

/// Run mixed traffic for an hour while agents are killed and the machine is pressed; each byte is checked.
#[derive(Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak")]
struct Options {
    /// Minutes that it takes; parts of them are fine
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    minutes: f64,
    /// Decides what happens; by default another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Use this binary, and the `workload` beside it; nothing is built
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    progress::ended(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    ensure!(
        options.minutes > 0.0 && options.minutes <= 24.0 * 60.0,
        "--minutes takes up to a day"
    );
    setup::require_root("socketvirt loads BPF programs, which")?;
    let binary = build::given_or_built(options.binary.as_deref())?;
    let seed = options.seed.unwrap_or_else(clock);
    let workload = binary.with_file_name("workload");
    ensure!(
        workload.is_file(),
        "{} is not there: run `cargo xtask build`",
        workload.display()
    );
    progress::step("soak: waiting for other tests to end");
    let _alone = lock::whole_host()?;

    progress::step(&format!("soak: {} min, seed {seed}", options.minutes));
    let folder = workspace::target_dir()?
        .join("soak")
        .join(format!("{seed}-{}", process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let programs = Programs {
        binary,
        workload,
        folder: folder.clone(),
    };
    let report = soak(
        programs,
        seed,
        Duration::from_secs_f64(options.minutes * 60.0),
    )?;
    if report.failure.is_none() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.text(progress::Style::stdout()));
    }
    match report.failure {
        None => Ok(()),
        Some(failure) => bail!("{}", failure.lines().next().unwrap_or_default()),
    }
}

fn soak(programs: Programs, seed: u64, duration: Duration) -> Result<Report> {
    let start = Instant::now();
    let folder = programs.folder.clone();
    let traces = Traces::take()?;
    let before = Kernel::now()?;
    netns::sweep(SPACE)?;
    let place = Place::make()?;
    let memory_pressed_by = place.pressed_by();
    let mut soak = Soak::new(programs, &place, seed, duration, before)?;
    let ran = soak.run();
    let (totals, diary, ended) = soak.finish();
    let mut result = ran.and(ended).and(place.remove());
    run::keep(&diary, &folder)?;

    // Of scripts that were killed, after a failure.
    let spaces = netns::sweep(SPACE)?;
    if result.is_ok() && !spaces.is_empty() {
        result = Err(anyhow::anyhow!("left behind: {}", spaces.join(", ")));
    }
    let left = traces.new_since()?;
    if !left.found.is_empty() {
        result = result.and(Err(anyhow::anyhow!(
            "left behind: {}",
            left.found.join(", ")
        )));
    }
    let growth_kb = settle(before)?;
    if let Some(wrong) = growth_kb.too_much_at_rest() {
        result = result.and(Err(anyhow::anyhow!("{wrong}")));
    }
    let failure = result.err().map(|error| format!("{error:#}"));
    Ok(Report {
        seed,
        seconds: start.elapsed().as_secs(),
        memory_pressed_by,
        totals,
        growth_kb,
        logs: failure.is_some().then_some(folder),
        failure,
    })
}

/// Measures the kernel again, once what has grown has had time to become less.
fn settle(before: Kernel) -> Result<Kernel> {
    let start = Instant::now();
    loop {
        let growth = Kernel::now()?.grown_since(before);
        if growth.too_much_at_rest().is_none() || start.elapsed() > SETTLE {
            return Ok(growth);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}
