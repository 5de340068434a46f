//! `cargo xtask fuzz`: hostile input for what reads a policy and pinned maps, made by libFuzzer. What it
//! finds is kept in `tests/fuzz`; the tests read the corpus there at each change.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use test_support::command;
use xtask::{
    progress,
    setup::{self, Purpose},
    tool, workspace,
};

#[derive(Args)]
pub struct Options {
    /// What reads the input; each in turn without
    target: Option<Target>,
    /// Seconds for each
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// The file of a policy
    Policy,
    /// The records of pinned maps
    Records,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Records => "records",
        }
    }
}

pub fn run(options: &Options) -> Result<()> {
    setup::run(Purpose::Build)?;
    tool::ensure(&tool::FUZZ)?;
    let all = options.target.map_or_else(
        || vec![Target::Policy, Target::Records],
        |target| vec![target],
    );
    for target in all {
        let name = target.name();
        progress::step(&format!("fuzz: {name}, {} s", options.seconds));
        let folder = workspace::root().join("tests/fuzz");
        let mut fuzz = workspace::cargo();
        // Sanitizers are for nightly toolchains; that of this workspace has them, too.
        fuzz.env("RUSTC_BOOTSTRAP", "1")
            .current_dir(&folder)
            .args(["fuzz", "run", "--fuzz-dir"])
            .arg(&folder)
            .arg("--target-dir")
            .arg(workspace::target_dir()?.join("fuzz"))
            // What is new goes into the first folder, and is of this machine alone.
            .arg(name)
            .arg(workspace::target_dir()?.join("fuzz/corpus").join(name))
            .arg(folder.join("corpus").join(name))
            .args(["--", "-print_final_stats=1"])
            .arg(format!("-max_total_time={}", options.seconds));
        std::fs::create_dir_all(workspace::target_dir()?.join("fuzz/corpus").join(name))?;
        if let Err(error) = command::run(&mut fuzz) {
            bail!(
                "{name}: {error:#}; put the input that is named above into {} once it is mended",
                folder.join("corpus").join(name).display()
            );
        }
    }
    Ok(())
}
