//! `socketvirt table`: every socket of the host.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::{
    output::{self, Printed},
    table::{
        agents::Agents,
        filter::{Filter, Order},
        print::{self, Style},
        source::{Namespaces, Source},
        view::Table,
        why::Why,
        words::ALL_STATUSES,
    },
};

/// Arguments of `socketvirt table`.
#[derive(Debug, ClapArgs)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
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
    /// Instead of rows, the reasons for which ends of TCP connections are on the stack: what
    /// each means, whose they are, and what would change it.
    #[arg(long, conflicts_with = "sort")]
    why: bool,
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
    let shape = Shape {
        filter,
        order: args.sort,
        why: args.why,
        json: args.json,
    };
    if args.watch {
        watch(&source, &args.netns, &shape)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = shape.text(Table::read(&source, &args.netns)?)?;
    if args.json {
        let _printed = output::print(&text).context(WRITING)?;
    } else {
        print::page(&text).context(WRITING)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows that are printed, and how.
struct Shape {
    filter: Filter,
    order: Order,
    why: bool,
    json: bool,
}

impl Shape {
    fn text(&self, mut table: Table) -> Result<String> {
        if self.why {
            let why = Why::of(&table, |socket| self.filter.admits(socket));
            return if self.json {
                json(&why)
            } else {
                Ok(why.render())
            };
        }
        self.filter.apply(&mut table, self.order);
        if self.json {
            json(&table)
        } else {
            Ok(print::render(&table, Style::of_output()))
        }
    }
}

const WRITING: &str = "writing the table failed";

/// One line of JSON, which `jq` reads as it comes.
fn json(shown: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(shown).context("putting the table into JSON failed")?;
    Ok(text + "\n")
}

fn watch(source: &Source, netns: &Namespaces, shape: &Shape) -> Result<()> {
    const LEAST: Duration = Duration::from_secs(1);
    let mut agents = Agents::default();
    loop {
        let began = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        let table = Table::read_again(source, &mut agents, netns)?;
        let ended = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        let pause = socketvirt_common::rule::pace::pause((ended - began).into(), LEAST);
        let mut text = shape.text(table)?;
        if !shape.json {
            // Home, the text, and clear what is left of the last one.
            text.insert_str(0, "\x1b[H\x1b[J");
        }
        match output::print(&text).context(WRITING)? {
            Printed::All => {}
            Printed::ReaderGone | Printed::Stopped => return Ok(()),
        }
        if output::ends_within(pause, None) {
            return Ok(());
        }
    }
}
