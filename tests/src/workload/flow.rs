//! One end of one connection: what it may send now, what it has to receive,
//! and whether each received byte is the right one. No byte is moved here.

use std::{
    os::fd::RawFd,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use test_support::random::{Random, mix};

use super::{
    phases::Phases,
    script::{Ending, Pace, Script, Step},
    watchdog::{self, Progress},
};
use crate::{
    content::{Content, HELLO, index_of},
    gate::{Gates, Watched},
};

/// The largest piece read or written by one call.
pub(crate) const PIECE: usize = 256 << 10;

/// The settings that all connections of a run have in common.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of a command line"
)]
pub(crate) struct Plan {
    pub(crate) phases: Phases,
    pub(crate) seed: u64,
    pub(crate) server_first: bool,
    /// Bytes travel with the SYN, so a socket is readable before its handshake
    /// is complete. FIONREAD is 0 until then, on plain TCP as well.
    pub(crate) early_data: bool,
    /// True when EAGAIN is no failure for a blocking receive.
    pub(crate) retry_eagain: bool,
    /// True when each turn has the kernel tell of room to send.
    pub(crate) tell_room: bool,
    /// True when FIONREAD may count too little.
    pub(crate) two_queues: bool,
    /// The gates on which both ends agree while they run.
    pub(crate) gates: Gates,
}

/// The identity of an end, known once the connection's index is.
struct Identity {
    index: u32,
    tx: Content,
    rx: Content,
    script: Script,
}

/// One end of one connection.
pub(crate) struct Flow {
    plan: Arc<Plan>,
    client: bool,
    identity: Option<Identity>,
    hello: Vec<u8>,
    step: usize,
    since: Instant,
    /// Bytes of all phases that came again: sent, received.
    again: (u64, u64),
    /// The next phase that comes again, and how often it has.
    repeat: usize,
    times: u64,
    socket: Watched,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) rng: Random,
    /// Reads that found nothing although there should have been something.
    pub(crate) spurious: u64,
    progress: Arc<Progress>,
}

impl Flow {
    /// `ordinal` numbers the connections of this end in the order of their
    /// start; the end that speaks first makes it the connection's index.
    pub(crate) fn new(plan: &Arc<Plan>, client: bool, ordinal: u32) -> Self {
        let side = if client { "client" } else { "server" };
        let mut flow = Self {
            plan: Arc::clone(plan),
            client,
            identity: None,
            hello: Vec::new(),
            step: 0,
            since: Instant::now(),
            again: (0, 0),
            repeat: 0,
            times: 1,
            socket: Watched::default(),
            sent: 0,
            received: 0,
            rng: Random::new(plan.seed ^ mix(u64::from(ordinal) << 1 | u64::from(client))),
            spurious: 0,
            progress: watchdog::watch(format!("{side} {ordinal}")),
        };
        if client != plan.server_first {
            flow.identify(ordinal);
        }
        flow
    }

    fn identify(&mut self, index: u32) {
        let plan = &self.plan;
        let first = |from_client: bool| from_client != plan.server_first;
        let content = |from_client| Content::new(plan.seed, index, from_client, first(from_client));
        self.identity = Some(Identity {
            index,
            tx: content(self.client),
            rx: content(!self.client),
            script: Script::new(
                &plan.phases,
                plan.seed,
                index,
                plan.server_first,
                self.client,
            ),
        });
        self.note_goal();
    }

    /// The socket that this end has, as long as it has it.
    pub(crate) fn on(&mut self, socket: RawFd) {
        self.socket = Watched::new(socket);
    }

    /// Bytes that this end has sent past the stack.
    pub(crate) fn redirected(&self) -> u64 {
        self.sent.saturating_sub(self.socket.by_stack())
    }

    fn note_goal(&self) {
        if let Some(step) = self.current() {
            *self
                .progress
                .goal
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = (step.send_to, step.recv_to);
        }
    }

    pub(crate) fn name(&self) -> String {
        let side = if self.client { "client" } else { "server" };
        let index = self
            .identity
            .as_ref()
            .map_or_else(|| "?".to_owned(), |i| i.index.to_string());
        format!(
            "{side} of connection {index}, sent {}, received {}",
            self.sent, self.received
        )
    }

    pub(crate) fn current(&self) -> Option<Step> {
        let step = self.identity.as_ref()?.script.steps.get(self.step)?;
        Some(Step {
            send_to: step.send_to + self.again.0,
            recv_to: step.recv_to + self.again.1,
            ..*step
        })
    }

    /// Bytes that this end receives in total, once that is known. A writing
    /// thread may not have counted the rounds that are over.
    fn total(&self) -> Option<u64> {
        let identity = self.identity.as_ref()?;
        let open = &identity.script.repeats[self.repeat..];
        let more = match open {
            [] => 0,
            [one] => {
                let last = self.plan.gates.of(identity.index, self.repeat).last()?;
                one.receives * last.checked_sub(self.times)?
            }
            _ => return None,
        };
        Some(identity.script.totals().1 + self.again.1 + more)
    }

    /// Every step is done; only the ending is left.
    pub(crate) fn finished(&self) -> bool {
        self.identity
            .as_ref()
            .is_some_and(|i| self.step == i.script.steps.len())
    }

    /// Returns this end's part in the ending: whether it is the first to end.
    pub(crate) fn ending(&self) -> (bool, Ending) {
        let ending = self.identity.as_ref().map_or(
            Ending {
                client_first: true,
                half_close: true,
            },
            |i| i.script.ending,
        );
        (ending.client_first == self.client, ending)
    }

    /// Returns the time for which this end has to hold back before it sends.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let step = self.current()?;
        let left = step
            .pause
            .checked_sub(now.saturating_duration_since(self.since))?;
        (!left.is_zero()).then_some(left)
    }

    /// Bytes that this step still sends.
    pub(crate) fn to_send(&self) -> u64 {
        self.current()
            .map_or(0, |s| s.send_to.saturating_sub(self.sent))
    }

    /// Puts the next piece to send into `buffer`; its size is random.
    pub(crate) fn next_piece(&mut self, buffer: &mut [u8]) -> usize {
        let left = usize::try_from(self.to_send()).unwrap_or(PIECE);
        let wish = match self.current().map_or(Pace::Message, |s| s.pace) {
            Pace::Message if self.rng.once_in(16) => self.rng.size(left),
            Pace::Message => left,
            Pace::Random | Pace::Slow => self.rng.size(64 << 10),
            Pace::Bulk => 1 << (16 + self.rng.below(3)),
        };
        let size = wish.min(left).min(buffer.len());
        self.peek_piece(self.sent, &mut buffer[..size]);
        size
    }

    /// The bytes that this end sends at `position`.
    pub(crate) fn peek_piece(&self, position: u64, buffer: &mut [u8]) {
        if let Some(identity) = &self.identity {
            identity.tx.fill(position, buffer);
        }
    }

    /// Counts bytes that a call took.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.progress.sent.store(self.sent, Relaxed);
        self.advance();
    }

    /// Returns the number of bytes that the next read asks for.
    pub(crate) fn read_size(&mut self) -> usize {
        if self.identity.is_none() {
            return HELLO - self.hello.len();
        }
        match self.current().map_or(Pace::Message, |s| s.pace) {
            Pace::Message => 64 << 10,
            Pace::Random => self.rng.size(64 << 10),
            Pace::Slow => self.rng.size(1024),
            Pace::Bulk => PIECE,
        }
    }

    /// A slow reader's pause after a read, now and then.
    pub(crate) fn dawdle(&mut self) -> Option<Duration> {
        let slow = self.current().is_some_and(|s| s.pace == Pace::Slow);
        (slow && self.rng.once_in(64)).then(|| Duration::from_micros(self.rng.below(3000)))
    }

    /// Checks bytes without taking them (`MSG_PEEK`).
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<()> {
        if let Some(identity) = &self.identity {
            identity
                .rx
                .check(self.received, bytes)
                .with_context(|| self.name())?;
        }
        Ok(())
    }

    /// Takes received bytes.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        if self.identity.is_none() {
            self.hello.extend_from_slice(bytes);
            if let Ok(hello) = <[u8; HELLO]>::try_from(self.hello.as_slice()) {
                let index = index_of(hello).with_context(|| {
                    format!("{}: the first words are {hello:02x?}", self.name())
                })?;
                self.identify(index);
            }
        } else {
            self.check(bytes)?;
        }
        self.received += bytes.len() as u64;
        self.progress.received.store(self.received, Relaxed);
        if let Some(total) = self.total() {
            ensure!(
                self.received <= total,
                "{}: more than the {total} bytes sent",
                self.name()
            );
        }
        self.advance();
        Ok(())
    }

    /// A receive has answered EAGAIN on a blocking socket: whether to go on.
    pub(crate) fn again(&mut self) -> bool {
        self.spurious += 1;
        self.plan.retry_eagain
    }

    /// True when each turn has the kernel tell of room to send.
    pub(crate) fn tells_room(&self) -> bool {
        self.plan.tell_room
    }

    /// True when a FIONREAD of 0 on a readable socket is wrong.
    pub(crate) fn trusts_fionread(&self) -> bool {
        !self.plan.two_queues && (self.received > 0 || !self.plan.early_data)
    }

    /// True when nothing more will come but the end.
    pub(crate) fn all_received(&self) -> bool {
        self.total() == Some(self.received)
    }

    /// True when the connection's index is known.
    pub(crate) fn identified(&self) -> bool {
        self.identity.is_some()
    }

    /// The peer has ended: was that its turn? A writing thread may not have
    /// counted its last bytes yet (`writer_lags`).
    pub(crate) fn end_of_file(&self, writer_lags: bool) -> Result<()> {
        ensure!(
            self.identified(),
            "{}: end of file before the first words",
            self.name()
        );
        let total = self.total().unwrap_or(u64::MAX);
        let (first, ending) = self.ending();
        ensure!(
            self.received == total,
            "{}: end of file, {total} bytes were sent",
            self.name()
        );
        ensure!(
            (writer_lags || self.finished()) && (!first || ending.half_close),
            "{}: end of file too early",
            self.name()
        );
        Ok(())
    }

    fn advance(&mut self) {
        while let Some(step) = self.current() {
            if self.sent < step.send_to || self.received < step.recv_to {
                break;
            }
            if self.pause(Instant::now()).is_some() {
                break;
            }
            self.step += 1;
            self.since = Instant::now();
            self.turn();
            self.note_goal();
        }
    }

    /// Between two steps: whether what is over comes again, and whether what
    /// begins is the last time.
    fn turn(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        let repeats = &identity.script.repeats;
        let Some(one) = repeats.get(self.repeat).copied() else {
            return;
        };
        let gate = self.plan.gates.of(identity.index, self.repeat);
        let mut begins = self.step == one.first;
        if self.step == one.end {
            if gate.last() == Some(self.times) {
                self.repeat += 1;
                self.times = 1;
                self.socket.forget();
                // The next one may begin right here.
                return self.turn();
            }
            self.step = one.first;
            self.times += 1;
            self.again = (self.again.0 + one.sends, self.again.1 + one.receives);
            begins = true;
        }
        if begins && one.decides && self.socket.holds(one.until) {
            gate.let_be_last(self.times);
        }
    }

    /// Steps without bytes end by time alone.
    pub(crate) fn tick(&mut self) {
        self.advance();
    }

    /// Waits (blocking ends only) until the step may send.
    pub(crate) fn sleep_out_pause(&mut self) {
        while let Some(left) = self.pause(Instant::now()) {
            std::thread::sleep(left);
        }
        self.advance();
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.progress.done.store(1, Relaxed);
    }
}
