//! `socketvirt policy`: checks a policy, and shows the one in force.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use super::explain;
use crate::{
    policy::{Policy, compile::Compiled, homes, status::Status, store::Store},
    table::print::page,
    tell,
};

/// Arguments of `socketvirt policy`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what is wrong with a file; nothing is changed
    Check {
        /// The policy.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the policy in force, and what each rule has done; no agent need run
    Show {
        /// Print JSON.
        #[arg(long, conflicts_with = "text")]
        json: bool,
        /// Print the text that it was written in.
        #[arg(long)]
        text: bool,
        /// The data path, when there are several.
        #[arg(long, value_name = "NAME")]
        home: Option<String>,
    },
    /// Say which rule decides about a socket, and why
    Explain(explain::Args),
}

/// Does it.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Check { file, json } => {
            let (policy, _) = Policy::read(file)?;
            let compiled = Compiled::new(&policy)?;
            let (rules, sets) = (policy.rules.len(), compiled.sets.len());
            if *json {
                let found = json!({ "schema": 1, "rules": rules, "sets": sets });
                page(&format!("{found}\n"))?;
            } else {
                tell!(
                    "{} is a policy of {rules} rules and the default",
                    file.display()
                );
            }
        }
        What::Show { json, text, home } => {
            let store = Store::open(&homes::find(home.as_deref())?)?;
            if *text {
                let text = store.text()?.context("no policy is in force")?;
                page(&text)?;
            } else {
                let status = Status::read(&store)?;
                let shown = if *json {
                    serde_json::to_string(&status)? + "\n"
                } else {
                    status.render()
                };
                page(&shown)?;
            }
        }
        What::Explain(args) => return explain::run(args),
    }
    Ok(ExitCode::SUCCESS)
}
