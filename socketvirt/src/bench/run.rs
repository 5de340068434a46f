//! One run: all variants of a case in turn, round after round.
//!
//! A machine's speed drifts (neighbours, clocks, caches), so variants are never
//! measured one after the other but interleaved at fractions of a second, and
//! compared within each round.

use std::{collections::BTreeMap, fmt::Display, ops::Range};

use nix::sys::utsname::uname;

use super::{
    company::Company,
    dump,
    error::Error,
    host::Host,
    load::Load,
    netns::Network,
    options::{Args, WorkerArgs},
    plan::{Expect, Group, Mode, Setting, TABLE, Variant},
    report::{Case, Report, Rounds, SCHEMA, Skipped, Worker, unit, went_fast},
    scale::{self, SCALE},
    select::{allowed_cpus, select, wanted},
    wire::{Lane, Sample, Spec, Work},
};

/// Connections that a round tries until one is fast.
const BEGINNINGS: usize = 5;

/// Milliseconds of traffic after a start that are not measured.
const WARM_UP: u64 = 500;

/// A benchmark under way.
struct Run<'a> {
    report: Report,
    cpus: Vec<usize>,
    load: Load,
    progress: &'a mut dyn FnMut(&str),
}

/// The workers of a group.
struct Hosts {
    running: BTreeMap<Mode, Host>,
    place: WorkerArgs,
}

/// Measures everything that the options select.
///
/// # Errors
/// When the options select nothing, or plain workers cannot be run. What only
/// `socketvirt exec` or a namespace lacks is reported as skipped.
pub fn run(args: &Args, progress: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    let groups = select(&args.only)?;
    let cpus = allowed_cpus()?;
    let report = Report {
        schema: SCHEMA,
        kernel: uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .map_err(Error::call("uname"))?,
        cpus: cpus.len(),
        quick: args.quick,
        rounds: if args.quick { 5 } else { 7 },
        sample_millis: if args.quick { 80 } else { 250 },
        others_cpu_percent: None,
        cases: Vec::new(),
        workers: Vec::new(),
        skipped: Vec::new(),
        table: None,
        scale: Vec::new(),
    };
    let mut run = Run {
        report,
        load: Load::new(cpus.len()),
        cpus,
        progress,
    };
    for group in groups {
        run.group(group)?;
        if group.name == TABLE {
            let (costs, failed) = dump::measure(args.quick, run.progress);
            run.report.table = Some(costs);
            for error in failed {
                run.skip("a look at the table".to_owned(), &error);
            }
        }
    }
    if wanted(&args.only, SCALE) {
        run.scale(args);
    }
    run.report.others_cpu_percent = run.load.others_percent();
    Ok(run.report)
}

impl Run<'_> {
    fn scale(&mut self, args: &Args) {
        match scale::measure(args.quick, self.progress) {
            Ok(measured) => {
                self.report.scale = measured.points;
                for (size, error) in measured.failed {
                    self.skip(format!("{SCALE}, {size}"), &error);
                }
            }
            Err(error) => self.skip(SCALE.to_owned(), &error),
        }
        let drawn = args
            .figure
            .as_deref()
            .map_or(Ok(()), |file| scale::draw(&self.report.scale, file));
        if let Err(error) = drawn {
            self.skip("the figure".to_owned(), &error);
        }
    }

    fn group(&mut self, group: &Group) -> Result<(), Error> {
        let network = match group.setting {
            Setting::Loopback => Ok(None),
            Setting::Forgetful => Network::forgetful().map(Some),
            Setting::Veth => Network::veth().map(Some),
            Setting::Bridge => Network::bridge().map(Some),
        };
        let network = match network {
            Ok(network) => network,
            Err(error) => {
                self.skip(group.name.to_owned(), &error);
                return Ok(());
            }
        };
        let place = network
            .as_ref()
            .map_or_else(WorkerArgs::loopback, Network::place);
        let mut hosts = Hosts {
            running: BTreeMap::new(),
            place,
        };
        hosts
            .running
            .insert(Mode::Plain, Host::start(Mode::Plain, &hosts.place)?);
        self.start(group, &mut hosts, !group.restarts);
        let sizes = if self.report.quick {
            group.quick
        } else {
            group.sizes
        };
        for &work in group.works {
            for &cpus in group.cpus {
                if cpus > self.cpus.len() {
                    self.skip(
                        format!("{} on {cpus} CPUs", group.name),
                        &"this machine allows one",
                    );
                    continue;
                }
                for &size in sizes {
                    self.case(group, work, cpus, size, &mut hosts)?;
                }
            }
        }
        self.stop(group, &mut hosts);
        Ok(())
    }

    /// Starts the workers that are missing, those under `socketvirt exec` if so
    /// wanted.
    fn start(&mut self, group: &Group, hosts: &mut Hosts, accelerated: bool) {
        for variant in group.variants {
            let mode = variant.mode();
            if hosts.running.contains_key(&mode) || mode.option().is_some() && !accelerated {
                continue;
            }
            match Host::start(mode, &hosts.place) {
                Ok(host) => drop(hosts.running.insert(mode, host)),
                Err(error) => {
                    self.skip(format!("{} {}", group.name, variant.name()), &error);
                }
            }
        }
    }

    /// Warms up what a round has started.
    ///
    /// A blocking connection is enrolled at its handshake or never. One that is
    /// made before the agent has seen its program is plain for the whole round, so
    /// the round begins with another.
    fn begin(&mut self, group: &Group, variant: Variant, spec: &Spec, hosts: &mut Hosts) {
        for _ in 0..BEGINNINGS {
            let is_fast = warm_up(variant, spec, hosts);
            if is_fast || spec.lane.work.connects() || variant.expects() != Expect::Fast {
                return;
            }
            self.stop(group, hosts);
            self.start(group, hosts, true);
        }
    }

    /// Ends those under `socketvirt exec`; what they said is part of the report, once a group.
    fn stop(&mut self, group: &Group, hosts: &mut Hosts) {
        for mode in [Mode::Eager, Mode::Adopt] {
            let Some(host) = hosts.running.remove(&mode) else {
                continue;
            };
            let farewell = host.stop();
            let known =
                |worker: &Worker| worker.group == group.name && worker.variant.mode() == mode;
            let variant = group.variants.iter().find(|variant| variant.mode() == mode);
            if let Some(&variant) = variant
                && !self.report.workers.iter().any(known)
            {
                self.report.workers.push(Worker {
                    group: group.name,
                    variant,
                    summary: farewell.summary,
                    agent_cpu_percent: farewell.agent_cpu_percent,
                });
            }
        }
    }

    fn case(
        &mut self,
        group: &Group,
        work: Work,
        cpus: usize,
        size: usize,
        hosts: &mut Hosts,
    ) -> Result<(), Error> {
        (self.progress)(&format!("{}, {work:?} of {size} B, {cpus} CPU", group.name));
        let specs: Vec<(Variant, Spec)> = group
            .variants
            .iter()
            .map(|&variant| (variant, self.spec(group, variant, work, cpus, size)))
            .collect();
        let mut all: Vec<(Variant, Rounds)> = specs
            .iter()
            .map(|(variant, _)| (*variant, Rounds::new()))
            .collect();
        for (variant, spec) in &specs {
            if !work.connects() {
                settle(*variant, spec, hosts);
            }
        }
        for round in 0..self.report.rounds {
            if group.restarts {
                self.stop(group, hosts);
            }
            // Whoever follows a slow variant finds other caches: take turns,
            // those apart that shall find no socketvirt on the host.
            let alone = if group.restarts {
                let is_alone = |(variant, _): &&(Variant, Spec)| variant.is_alone();
                specs.iter().take_while(is_alone).count()
            } else {
                0
            };
            let order = turn(0..alone, round).chain(turn(alone..specs.len(), round));
            for (index, (variant, spec)) in
                order.filter_map(|index| Some((index, specs.get(index)?)))
            {
                if !variant.is_alone() {
                    self.start(group, hosts, true);
                    if group.restarts {
                        self.begin(group, *variant, spec, hosts);
                    }
                }
                let sample = self.sample(group, *variant, spec, hosts)?;
                if let Some((_, rounds)) = all.get_mut(index) {
                    rounds.push(sample);
                }
            }
        }
        self.record(group, work, cpus, size, &all);
        Ok(())
    }

    fn record(
        &mut self,
        group: &Group,
        work: Work,
        cpus: usize,
        size: usize,
        all: &[(Variant, Rounds)],
    ) {
        let mut case = Case {
            group: group.name,
            title: group.title,
            work,
            calls: group.calls,
            setting: group.setting,
            size,
            cpus,
            unit: unit(work),
            results: Vec::new(),
        };
        for (variant, rounds) in all {
            case.add(*variant, rounds, all);
        }
        self.report.cases.push(case);
    }

    /// One sample; `None` when this variant cannot be measured.
    fn sample(
        &mut self,
        group: &Group,
        variant: Variant,
        spec: &Spec,
        hosts: &mut Hosts,
    ) -> Result<Option<Sample>, Error> {
        let mode = variant.mode();
        let Some(host) = hosts.running.get_mut(&mode) else {
            return Ok(None);
        };
        let _company = match Company::of(variant) {
            Ok(company) => company,
            Err(error) => {
                self.skip(format!("{} {}", group.name, variant.name()), &error);
                return Ok(None);
            }
        };
        let error = match self.load.during(|| host.measure(spec)) {
            Ok(sample) => return Ok(Some(sample)),
            Err(error) => error,
        };
        let label = format!("{} {}", group.name, variant.name());
        self.skip(
            format!("{label} {:?} of {} B", spec.lane.work, spec.size),
            &error,
        );
        // A worker that failed once has ended: give the next sample a new one.
        drop(hosts.running.remove(&mode));
        match Host::start(mode, &hosts.place) {
            Ok(host) => drop(hosts.running.insert(mode, host)),
            Err(error) if mode == Mode::Plain => return Err(error),
            Err(error) => self.skip(label, &error),
        }
        Ok(None)
    }

    fn spec(&self, group: &Group, variant: Variant, work: Work, cpus: usize, size: usize) -> Spec {
        // The last processor: interrupts go to the first on most machines.
        let last = self.cpus.last().copied().unwrap_or_default();
        let first = self.cpus.first().copied().unwrap_or_default();
        Spec {
            lane: Lane {
                family: variant.family(),
                calls: group.calls,
                work,
            },
            size,
            client_cpu: if cpus == 1 { last } else { first },
            server_cpu: last,
            millis: self.report.sample_millis,
        }
    }

    fn skip(&mut self, what: String, why: &dyn Display) {
        let entry = Skipped {
            what,
            why: why.to_string(),
        };
        if !self.report.skipped.contains(&entry) {
            self.report.skipped.push(entry);
        }
    }
}

/// Talks on a new connection, while the agent that was just started looks at
/// the host for the first time. Returns true when it went the fast way.
fn warm_up(variant: Variant, spec: &Spec, hosts: &mut Hosts) -> bool {
    let spec = Spec {
        millis: WARM_UP,
        ..*spec
    };
    let host = hosts.running.get_mut(&variant.mode());
    // The measured sample will meet a failure again, and report it.
    host.is_some_and(|host| host.measure(&spec).is_ok_and(|sample| went_fast(&sample)))
}

/// The same numbers, begun at another one each round.
fn turn(range: Range<usize>, round: usize) -> impl Iterator<Item = usize> {
    let Range { start, end } = range;
    let first = start + round.checked_rem(end - start).unwrap_or(0);
    (first..end).chain(start..first)
}

/// Talks on a connection until it is fast, or for as long as it may take.
fn settle(variant: Variant, spec: &Spec, hosts: &mut Hosts) {
    let Some(host) = hosts.running.get_mut(&variant.mode()) else {
        return;
    };
    for _ in 0..variant.settles() / spec.millis.max(1) {
        match host.measure(spec) {
            Ok(sample) if went_fast(&sample) => return,
            Ok(_) => {}
            // The measured rounds will meet it again, and report it.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn() {
        assert!(turn(0..3, 0).eq([0, 1, 2]));
        assert!(turn(0..3, 4).eq([1, 2, 0]));
        assert!(turn(3..4, 5).eq([3]));
        assert_eq!(turn(0..0, 1).count(), 0);
    }
}
