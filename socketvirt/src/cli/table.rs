//! `socketvirt table`: every socket of the host.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use nix::time::{ClockId, clock_gettime};

use crate::{
    output::{self, Printed},
    table::{
        agents::Agents,
        filter::{Filter, Order},
        print::{self, Style},
        source::{Namespaces, Source},
        view::Table,
        words::ALL_STATUSES,
    },
};

/// Arguments of `socketvirt table`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Print JSON, as docs/socket-table.md describes it.
    #[arg(long)]
    json: bool,
    /// Only sockets that wait for connections.
    #[arg(long, short)]
    listening: bool,
    /// Only sockets whose own or other port is this one.
    #[arg(long, short, value_name = "PORT")]
    port: Vec<u32>,
    /// Only sockets of this status.
    #[arg(long, value_name = "STATUS", ignore_case = true, value_parser = clap::builder::PossibleValuesParser::new(ALL_STATUSES))]
    status: Vec<String>,
    /// Only sockets of this cgroup and those below it.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Which network namespaces: all, own, a name, a path or an inode.
    #[arg(long, value_name = "NETNS", default_value = "all")]
    netns: Namespaces,
    /// Only connections on this path.
    #[arg(long, value_name = "PATH", value_parser = ["stack", "fast", "kept"])]
    path: Option<String>,
    /// Only sockets of this family: inet, inet6, unix (or tcp, udp, `u_str`).
    #[arg(long, value_name = "FAMILY")]
    family: Vec<String>,
    /// Only sockets of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = ["stream", "dgram", "seqpacket"])]
    kind: Vec<String>,
    /// Only sockets that this process has open.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// The order of rows.
    #[arg(long, value_enum, default_value = "kind")]
    sort: Order,
    /// Refresh in place; scans take at most 1% of one CPU.
    #[arg(long, short)]
    watch: bool,
}

/// Prints the table.
pub fn run(args: Args) -> Result<ExitCode> {
    let filter = Filter {
        listening: args.listening,
        ports: args.port,
        statuses: args.status,
        cgroup: args.cgroup,
        path: args.path,
        families: args.family,
        types: args.kind,
        pids: args.pid,
    };
    let source = Source::open()?;
    if args.watch {
        watch(&source, &args.netns, &filter, args.sort, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::read(&source, &args.netns)?;
    filter.apply(&mut table, args.sort);
    if args.json {
        let _printed = output::print(&json(&table)?).context(WRITING)?;
    } else {
        print::page(&print::render(&table, Style::of_output())).context(WRITING)?;
    }
    Ok(ExitCode::SUCCESS)
}

const WRITING: &str = "writing the table failed";

/// One line of JSON, which `jq` reads as it comes.
fn json(table: &Table) -> Result<String> {
    let text = serde_json::to_string(table).context("putting the table into JSON failed")?;
    Ok(text + "\n")
}

fn watch(
    source: &Source,
    netns: &Namespaces,
    filter: &Filter,
    order: Order,
    as_json: bool,
) -> Result<()> {
    const LEAST: Duration = Duration::from_secs(1);
    let mut agents = Agents::default();
    loop {
        let began = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        let mut table = Table::read_again(source, &mut agents, netns)?;
        let ended = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        let pause = socketvirt_common::rule::pace::pause((ended - began).into(), LEAST);
        filter.apply(&mut table, order);
        let text = if as_json {
            json(&table)?
        } else {
            // Home, the text, and clear what is left of the last one.
            format!("\x1b[H\x1b[J{}", print::render(&table, Style::of_output()))
        };
        match output::print(&text).context(WRITING)? {
            Printed::All => {}
            Printed::ReaderGone | Printed::Stopped => return Ok(()),
        }
        if output::ends_within(pause, None) {
            return Ok(());
        }
    }
}
