//! `socketvirt apply`: puts a policy in force, while connections live on.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use serde_json::json;
use socketvirt_common::record::config::Mode;

use crate::{
    datapath::config,
    policy::{Policy, homes, store::Store, vouches},
    table::print::page,
    tell,
};

/// Arguments of `socketvirt apply`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The policy: a TOML file, see docs/policy.md.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data path, when there are several.
    #[arg(long, value_name = "NAME")]
    home: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Applies it.
pub fn run(args: &Args) -> Result<ExitCode> {
    // First: a file that does not check changes nothing.
    let (policy, text) = Policy::read(&args.file)?;
    let folder = homes::find(args.home.as_deref())?;
    let generation = Store::open(&folder)?.apply(&policy, &text)?;
    let rules = policy.rules.len();
    if args.json {
        let done = json!({ "schema": 1, "generation": generation, "rules": rules });
        page(&format!("{done}\n"))?;
    } else {
        tell!("policy {generation} is in force: {rules} rules, and the default");
    }
    if let Some(words) = vouches::shortcoming(policy.assumes()) {
        tell!("{words}");
    }
    if policy.is_eager() && config::mode(&folder).is_some_and(|mode| mode != Mode::Eager) {
        tell!(
            "the agent adopts only: what the policy has as `eager` is adopted until the agent is started \
             with it"
        );
    }
    Ok(ExitCode::SUCCESS)
}
