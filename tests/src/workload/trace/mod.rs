//! What each call answers, line by line.
//!
//! Every case drives both ends of one connection through a fixed order of
//! calls and prints what each of them answered. The same cases run on plain
//! TCP and accelerated must print the same: the application cannot tell.

mod calls;
mod closing;
mod events;
mod options;
mod sleeping;
mod starting;
mod wire;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    args::Trace,
    content::Rng,
    net::{self, set_int},
    sides, watchdog,
};
use wire::Wire;

/// How the warm-up reads, so that a guard can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warm {
    Recv,
    WaitAll,
    Splice,
    /// The case makes its own connections.
    No,
}

/// One case. It runs twice, once with the client as the acting end `A` and
/// once with the server.
struct Case {
    name: &'static str,
    warm: Warm,
    setup: fn(&mut Wire) -> Result<()>,
    run: fn(&mut Wire) -> Result<()>,
}

/// A case without preparations.
const fn case(name: &'static str, run: fn(&mut Wire) -> Result<()>) -> Case {
    Case {
        name,
        warm: Warm::Recv,
        setup: nothing,
        run,
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a case's preparation has this type"
)]
fn nothing(_: &mut Wire) -> Result<()> {
    Ok(())
}

pub(crate) fn run(args: &Trace, deadline: u64) -> Result<()> {
    watchdog::start("trace", deadline);
    let groups = [
        ("closing", closing::cases()),
        ("starting", starting::cases()),
        ("calls", calls::cases()),
        ("events", events::cases()),
        ("options", options::cases()),
        ("sleeping", sleeping::cases()),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (group, of_it) in groups {
        let wanted = args.group.is_empty() || args.group.iter().any(|g| g == group);
        if wanted && (group != "sleeping" || args.blocking) {
            cases.extend(of_it);
        }
    }
    if args.blocking {
        // On an enrolled socket this waits for ever, which ends the trace.
        cases.retain(|c| c.warm != Warm::Splice);
    }
    if let Some(only) = &args.only {
        cases.retain(|c| c.name.contains(only.as_str()));
    }
    ensure!(!cases.is_empty(), "no case of this name");

    let (listener, addr) = sides::listener(&args.place)?;
    let mut wires = Vec::new();
    for (index, case) in (0u32..).zip(&cases) {
        for swapped in [false, true] {
            let mut wire = Wire::new(
                args,
                &listener,
                addr,
                index * 2 + u32::from(swapped),
                swapped,
            )?;
            if case.warm != Warm::No {
                wire.open()?;
            }
            (case.setup)(&mut wire)?;
            wires.push((case, wire));
        }
    }
    warm_up(args, &mut wires)?;
    for (case, mut wire) in wires {
        let result = (case.run)(&mut wire);
        let actor = if wire.swapped { "server" } else { "client" };
        println!("{} by {actor}: {}", case.name, wire.log.join("; "));
        result?;
    }
    Ok(())
}

/// Requests and answers in turn on all connections, so that they prove
/// themselves.
fn warm_up(args: &Trace, wires: &mut [(&Case, Wire)]) -> Result<()> {
    if args.warm_rounds == 0 {
        return Ok(());
    }
    let mut rng = Rng::new(args.seed);
    let gap = Duration::from_secs(1) / args.warm_rate.max(1);
    let start = Instant::now();
    for round in 0..args.warm_rounds {
        // Above the low water mark of one of the cases.
        for (case, wire) in &mut *wires {
            if case.warm != Warm::No {
                wire.exchange(100 + rng.size(256), case.warm)?;
            }
        }
        if let Some(left) = (gap * (round + 1)).checked_sub(start.elapsed()) {
            thread::sleep(left);
        }
    }
    for (_, wire) in wires {
        wire.log.clear();
    }
    Ok(())
}

/// A count, or the error's name.
fn errno_name(result: Result<usize, nix::errno::Errno>) -> String {
    match result {
        Ok(n) => n.to_string(),
        Err(errno) => format!("{errno:?}"),
    }
}
