//! `socketvirt bench`, and the hidden worker that it starts.

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use socketvirt::bench::{self, Options, Place, Role};

/// Compare plain TCP, the fast path and Unix sockets in one interleaved run.
///
/// Ten minutes at most; leave the machine alone meanwhile. Needs root for the
/// accelerated variants and the namespaces.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,

    /// Fewer sizes and shorter samples: less than a minute.
    #[arg(long)]
    quick: bool,

    /// Measure only this group (repeatable): blocking, epoll, stream, connect,
    /// netns, netns-epoll, presence.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// One end of the measured connections; started by `bench`.
#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// Be the end that listens.
    #[arg(long)]
    peer: bool,

    /// Address to listen on.
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    ip: IpAddr,

    /// Network namespace of the end that connects.
    #[arg(long)]
    client_netns: Option<PathBuf>,

    /// Network namespace of the end that listens.
    #[arg(long)]
    server_netns: Option<PathBuf>,
}

/// Runs the benchmark and prints its report on standard output.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { json, quick, only } = args;
    let terminal = io::stderr().is_terminal();
    let report = bench::run(&Options { quick, only }, &mut |doing| {
        let mut err = io::stderr().lock();
        // Progress is a courtesy: a closed standard error must not end a run.
        let _shown = if terminal {
            write!(err, "\r\x1b[K{doing}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{doing}")
        };
    })?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report).context("print the report")?;
        writeln!(out)
    } else {
        write!(out, "{report}")
    }
    .context("print the report")?;
    Ok(ExitCode::SUCCESS)
}

/// Serves the benchmark over standard input and output.
pub fn worker(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    let role = if args.peer { Role::Peer } else { Role::Client };
    let place = Place {
        ip: args.ip,
        client: args.client_netns,
        server: args.server_netns,
    };
    bench::work(&role, &place)?;
    Ok(ExitCode::SUCCESS)
}
