//! Plays a scenario and writes down what each of its calls answered.

use std::{os::fd::AsRawFd as _, thread, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::alarm,
};

use super::{
    connect, pass,
    perform::{Done, Task},
    reach::{self, State},
    step::{Call, End, Flag, Opt, Place, Scenario, Step, Way},
    sys::{self, word},
    uring,
    wire::Wire,
    worker::Worker,
};

/// Seconds for the steps of a scenario: all of their waits have much shorter
/// bounds.
const STEPS: u32 = 60;

/// The rest before each step of a late program: longer than a delayed
/// acknowledgement and the shortest retransmission timeout (`TCP_RTO_MIN`, 200 ms).
const REST: Duration = Duration::from_millis(300);

/// The record of a scenario.
#[derive(Debug, Default)]
pub struct Played {
    /// A line a step, and one for each call that returned later.
    pub transcript: Vec<String>,
    /// The reason that the connection was kept on the stack.
    pub kept_off: Option<String>,
    /// Bytes that were redirected, after the state was reached.
    pub fast: u64,
}

/// A scenario at work.
pub(super) struct Player<'a> {
    pub(super) wire: Wire,
    state: State,
    table: Option<&'a str>,
    asleep: Vec<Worker>,
    played: Played,
    has_ring: bool,
    /// Told of every line at once.
    tell: &'a mut dyn FnMut(&str),
}

/// Plays it. Each line is told as soon as it is known, because a call may not
/// come back.
pub(super) fn play(
    scenario: &Scenario,
    state: State,
    table: Option<&str>,
    tell: &mut dyn FnMut(&str),
) -> Result<Played> {
    let options: Vec<_> = scenario
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Listen(opt, value) => Some((*opt, *value)),
            _ => None,
        })
        .collect();
    if scenario.has_ring() {
        uring::prepare()?;
    }
    let (listening, addr) = connect::listener(&options)?;
    let mut player = Player {
        wire: Wire::new(Some(listening), addr)?,
        state,
        table,
        asleep: Vec::new(),
        played: Played::default(),
        has_ring: scenario.has_ring(),
        tell,
    };
    if !scenario.opens() {
        connect::open(&mut player.wire)?;
        if !scenario.reaches() {
            player.reach()?;
        }
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        match step {
            Step::Listen(..) => {}
            Step::Reach => player.reach()?,
            Step::On(end, place, call) => player.step(index, step, *end, *place, call)?,
        }
    }
    let left: Vec<_> = player.asleep.iter().map(|one| one.step).collect();
    if !left.is_empty() {
        player.line(format!("still asleep: {left:?}"));
    }
    let fast = [End::A, End::B].map(|end| player.wire.side(end).fast);
    player.played.fast = fast.iter().sum();
    Ok(player.played)
}

impl Player<'_> {
    fn line(&mut self, text: String) {
        (self.tell)(&text);
        self.played.transcript.push(text);
    }

    fn reach(&mut self) -> Result<()> {
        self.settle()?;
        self.played.kept_off = if self.has_ring {
            reach::kept_off(&mut self.wire, self.table)?
        } else {
            reach::reach(&mut self.wire, self.state, self.table)?
        };
        self.wire.settle();
        self.wire.count_from_here();
        // From here on nothing takes long.
        alarm::set(STEPS);
        Ok(())
    }

    fn step(
        &mut self,
        index: usize,
        step: &Step,
        end: End,
        place: Place,
        call: &Call,
    ) -> Result<()> {
        if self.state == State::Late {
            thread::sleep(REST);
        }
        let left = self.left(end);
        let result = match self.answer(index, end, place, call)? {
            Some(result) => result,
            None => "sleeps".to_owned(),
        };
        // The bytes that it leaves unread decide how a close ends.
        let closes = matches!(call, Call::Close | Call::Reset | Call::Disconnect);
        let unread = if closes && left > 0 {
            " (unread bytes)"
        } else {
            ""
        };
        self.line(format!("{index}: {step} -> {result}{unread}"));
        self.settle()
    }

    /// Makes a call; `None` when it sleeps.
    fn answer(
        &mut self,
        index: usize,
        end: End,
        place: Place,
        call: &Call,
    ) -> Result<Option<String>> {
        if let Call::Connect(size) = call {
            return connect::again(&mut self.wire, end, *size).map(Some);
        }
        if let Call::Accept = call {
            let answer = connect::accept(&mut self.wire, end);
            return Ok(Some(
                answer.map_or_else(|e| format!("{e:#}"), |()| "0".to_owned()),
            ));
        }
        let Some(fd) = self.wire.raw(end) else {
            return Ok(Some("no socket".to_owned()));
        };
        let task = Task {
            fd,
            epoll: self.wire.side(end).epoll.as_raw_fd(),
            call: call.clone(),
            bytes: self.bytes(end, call),
        };
        match call {
            Call::Close | Call::Reset => {
                if *call == Call::Reset {
                    sys::set(fd, Opt::Linger, 0)?;
                }
                self.wire.side_mut(end).fd = None;
                self.wire.side_mut(end.other()).end_due = true;
                return Ok(Some("done".to_owned()));
            }
            Call::Block | Call::Nonblock => {
                let on = *call == Call::Nonblock;
                let flags = if on {
                    OFlag::O_NONBLOCK
                } else {
                    OFlag::empty()
                };
                let fd = self.wire.fd(end).context("an end")?;
                fcntl(fd, FcntlArg::F_SETFL(OFlag::O_RDWR | flags)).context("F_SETFL")?;
                self.wire.side_mut(end).nonblocking = on;
                return Ok(Some("done".to_owned()));
            }
            Call::Dup => {
                let copy = self.wire.fd(end).context("an end")?.try_clone_to_owned()?;
                self.wire.side_mut(end).fd = Some(copy);
                return Ok(Some("done".to_owned()));
            }
            Call::Pass => {
                let fd = self.wire.side_mut(end).fd.take().context("an end")?;
                self.wire.side_mut(end).fd = Some(pass::through(fd)?);
                return Ok(Some("done".to_owned()));
            }
            Call::Fill => return Ok(Some(self.fill(end, fd))),
            Call::Drain => return self.drain(end, fd).map(Some),
            Call::Signal(restart) => return self.signal(end, *restart).map(Some),
            Call::Disconnect => return Ok(Some(connect::disconnect(&mut self.wire, end))),
            Call::Outq => return Ok(Some(sys::outq(fd))),
            Call::Info | Call::Counters => {
                let info = self.wire.info(end).context("TCP_INFO")?;
                let text = if *call == Call::Info {
                    sys::state(info.state).to_owned()
                } else {
                    let since = self.wire.side(end).since;
                    let sent = info.sent - since.0;
                    format!("sent {sent} received {}", info.received - since.1)
                };
                return Ok(Some(text));
            }
            Call::Watch(_) | Call::Rearm => {
                return Ok(Some(pass::watch(self.wire.side_mut(end), call)));
            }
            _ => {}
        }
        let done = match place {
            Place::Here => {
                let worker = Worker::start(index, task)?;
                worker.rest()?;
                let done = if worker.asleep() { None } else { worker.wait() };
                let Some(done) = done else {
                    self.asleep.push(worker);
                    return Ok(None);
                };
                done
            }
            Place::Await => match Worker::start(index, task)?.wait() {
                Some(done) => done,
                None => return Ok(Some("never returns".to_owned())),
            },
            Place::Fork => pass::forked(&task)?,
            Place::Handover => {
                let fd = self.wire.side_mut(end).fd.take().context("an end")?;
                let (done, fd) = pass::handover(fd, &task)?;
                self.wire.side_mut(end).fd = Some(fd);
                done
            }
        };
        Ok(Some(self.account(end, call, &done)))
    }

    /// The bytes that a send sends.
    pub(super) fn bytes(&self, end: End, call: &Call) -> Vec<u8> {
        let Call::Send(size, ..) = call else {
            return Vec::new();
        };
        let sender = self.wire.side(end);
        let mut bytes = vec![0; *size];
        sender.content.fill(sender.sent, &mut bytes);
        bytes
    }

    /// Counts what a call has moved and puts its answer into words.
    pub(super) fn account(&mut self, end: End, call: &Call, done: &Done) -> String {
        let count = done.answer.unwrap_or(0);
        let mut text = word(done.answer);
        match call {
            Call::Send(_, _, flags) => {
                let closed = self.wire.side(end.other()).fd.is_none();
                let side = self.wire.side_mut(end);
                side.sent += count as u64;
                side.holds = flags.contains(&Flag::More) || side.holds && count == 0;
                side.reset_due |= closed && count > 0;
            }
            Call::Recv(_, _, flags) if count > 0 => {
                let peek = flags.contains(&Flag::Peek);
                if done.data.is_empty() {
                    self.wire.side_mut(end).read += count as u64;
                } else {
                    text = self.wire.judge(end, &done.data, !peek);
                }
            }
            Call::Shut(Way::Write | Way::Both) if done.answer.is_ok() => {
                self.wire.side_mut(end.other()).end_due = true;
            }
            Call::Set(Opt::Cork, value) => self.wire.side_mut(end).holds = *value != 0,
            _ => {}
        }
        if !done.note.is_empty() {
            text = format!("{text} {}", done.note);
        }
        text
    }

    /// Waits until nothing is under way and every sleeping call sleeps, and
    /// notes those that have returned, in the order of their steps.
    pub(super) fn settle(&mut self) -> Result<()> {
        let mut returned = Vec::new();
        loop {
            self.wire.settle();
            let before = returned.len();
            let mut asleep = Vec::new();
            for worker in std::mem::take(&mut self.asleep) {
                worker.rest()?;
                let done = if worker.asleep() { None } else { worker.wait() };
                match done {
                    Some(done) => returned.push((worker, done)),
                    None => asleep.push(worker),
                }
            }
            self.asleep = asleep;
            if returned.len() == before {
                break;
            }
        }
        returned.sort_by_key(|(worker, _)| worker.step);
        for (worker, done) in returned {
            let end = self.end_of(&worker);
            let text = self.account(end, &worker.task.call, &done);
            self.line(format!("    {} wakes -> {text}", worker.step));
        }
        Ok(())
    }

    /// Whose call it is. Descriptors may have been replaced since, the epoll
    /// ones never are.
    fn end_of(&self, worker: &Worker) -> End {
        let of_a = self.wire.side(End::A).epoll.as_raw_fd() == worker.task.epoll;
        if of_a { End::A } else { End::B }
    }

    fn signal(&mut self, end: End, restart: bool) -> Result<String> {
        let last = self.asleep.iter().rev().find(|one| self.end_of(one) == end);
        match last {
            Some(worker) => {
                worker.signal(restart)?;
                Ok(format!("to {}", worker.step))
            }
            None => Ok("to nobody".to_owned()),
        }
    }
}
