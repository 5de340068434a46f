//! Connections that follow a script, both sides.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc, thread};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{
    args::{Io, Streams},
    blocking,
    endpoint::Trigger,
    epoll,
    flow::Plan,
    phases::Phase,
    report::Side,
    sides,
    watchdog::or_exit,
};
use crate::{gate::Gates, net};

pub(crate) fn run(args: &Streams, deadline: u64) -> Result<()> {
    let both_ways = args
        .phases
        .0
        .iter()
        .any(|(phase, _)| matches!(phase, Phase::Stream { .. }));
    ensure!(
        !(args.io == Io::Single && both_ways),
        "a single blocking thread cannot stream both ways at once"
    );
    let total = args.total.unwrap_or(args.connections).max(args.connections);
    let plan = Arc::new(Plan {
        phases: args.phases.clone(),
        seed: args.seed,
        server_first: args.server_first,
        retry_eagain: args.retry_eagain,
        tell_room: args.tell_room,
        two_queues: args.two_queues,
        early_data: args.place.fastopen || args.late_accept,
        gates: Gates::new(total, args.phases.conditions())?,
    });
    let side = |side: Side, name: &str| -> Result<()> {
        let report = match args.io {
            Io::Blocking => blocking::run(&side, &args.place, &plan, false),
            Io::Single => blocking::run(&side, &args.place, &plan, true),
            Io::Level => epoll::run(&side, &args.place, &plan, Trigger::Level),
            Io::Edge => epoll::run(&side, &args.place, &plan, Trigger::Edge),
            Io::EdgeShort => epoll::run(&side, &args.place, &plan, Trigger::EdgeShort),
        }?;
        report.print(name);
        Ok(())
    };
    let serve = |listener: OwnedFd| {
        if let Some(file) = &args.ready_file {
            std::fs::write(file, "ready\n").with_context(|| format!("write {}", file.display()))?;
        }
        side(Side::Server { listener, total }, "server")
    };
    let call = |server: SocketAddr| {
        side(
            Side::Client {
                server,
                connections: args.connections,
                total,
            },
            "client",
        )
    };
    if args.place.threads {
        let (send, receive) = std::sync::mpsc::channel();
        return thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (listener, addr) = or_exit(sides::listener(&args.place));
                or_exit(send.send(addr).context("the client has gone"));
                or_exit(serve(listener));
            });
            let addr = receive.recv().context("the server has gone")?;
            or_exit(net::enter(args.place.client_netns.as_ref()));
            or_exit(call(addr));
            server.join().map_err(|_| anyhow!("the server panicked"))
        });
    }
    sides::two_processes(&args.place, deadline, serve, call)
}
