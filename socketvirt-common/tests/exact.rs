//! No byte lost, repeated or reordered: the rules of one direction, run
//! against a model of the kernel's queues under any schedule.

use std::collections::VecDeque;

use proptest::prelude::*;
use socketvirt_common::{
    reason::Reason,
    record::flow::Path,
    rule::{
        path::{self, CALM_SENDS, Decision, HEARTBEAT, Own, Peer, decide},
        pressure::{LARGEST_MESSAGE, MESSAGE_OVERHEAD},
        way::QUEUE,
    },
    uapi::TCP_ESTABLISHED,
};

/// The ways in which a receiver's queues are read.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Redirected bytes first, then the stack's.
    TxOnly,
    /// One queue in the order of arrival.
    Unified,
}

/// One step of a schedule.
#[derive(Clone, Debug)]
enum Step {
    /// The program sends.
    Send(u16),
    /// The stack brings its oldest packets to the receiver.
    Deliver(u8),
    /// The program reads up to this many bytes.
    Read(u16),
    /// The agent closes or opens the fast path.
    Gate(bool),
    /// A send goes by the stack without the program being asked: the kernel
    /// keeps a verdict after a send that failed halfway.
    Around(u16),
    /// Time passes, in half [`HEARTBEAT`]s.
    Wait(u8),
}

/// One direction of a connection: bytes are numbered as they are sent.
struct Direction {
    mode: Mode,
    rcvbuf: u32,
    next_byte: u64,
    path: Path,
    fast_write_seq: u32,
    since_empty: u32,
    calm: u32,
    stack_age: u64,
    open: bool,
    write_seq: u32,
    copied_seq: u32,
    /// Packets given to the stack and not yet delivered: first byte, length.
    under_way: VecDeque<(u64, u64)>,
    /// Redirected messages: first byte, length, whether from the stack.
    redirected: VecDeque<(u64, u64, bool)>,
    /// The TCP receive queue.
    received: VecDeque<(u64, u64)>,
    read: u64,
    most_memory: u64,
    fast_messages: u64,
    /// The receiver's queue of its own, see [`QUEUE`].
    queue: u32,
    /// `fast_messages` when the path became fast last.
    run_from: u64,
}

impl Direction {
    fn new(mode: Mode, rcvbuf: u32, first_seq: u32) -> Self {
        Self {
            mode,
            rcvbuf,
            next_byte: 0,
            path: Path::Stack,
            fast_write_seq: 0,
            since_empty: 0,
            calm: 0,
            stack_age: 0,
            open: true,
            write_seq: first_seq,
            copied_seq: first_seq,
            under_way: VecDeque::new(),
            redirected: VecDeque::new(),
            received: VecDeque::new(),
            read: 0,
            most_memory: 0,
            fast_messages: 0,
            queue: 0,
            run_from: 0,
        }
    }

    fn queued(&self) -> u64 {
        self.redirected
            .iter()
            .map(|&(_, length, _)| length)
            .sum::<u64>()
            + self.received.iter().map(|&(_, length)| length).sum::<u64>()
    }

    /// As `on_message` in the BPF program does, by `rule`.
    fn send(&mut self, size: u32, rule: fn(&Own, &Peer) -> Decision) {
        let queued = u32::try_from(self.queued()).expect("a model queue is small");
        if queued == 0 {
            self.since_empty = 0;
        }
        let decision = if self.open {
            rule(
                &Own {
                    state: TCP_ESTABLISHED,
                    shutdown: 0,
                    write_seq: self.write_seq,
                    path: self.path,
                    fast_write_seq: self.fast_write_seq,
                    since_empty: self.since_empty,
                    calm: self.calm,
                    size,
                    largest: LARGEST_MESSAGE,
                    stack_age: self.stack_age,
                },
                &Peer {
                    shutdown: 0,
                    copied_seq: self.copied_seq,
                    queued,
                    limit: self.rcvbuf,
                },
            )
        } else {
            Decision::Stack(Reason::Draining)
        };
        let first = self.next_byte;
        self.next_byte += u64::from(size);
        match decision {
            Decision::Redirect => {
                self.redirected.push_back((first, u64::from(size), false));
                if self.path != Path::Fast {
                    self.run_from = self.fast_messages;
                }
                self.path = Path::Fast;
                self.fast_write_seq = self.write_seq;
                self.since_empty += 1;
                self.fast_messages += 1;
                let memory: u64 = self
                    .redirected
                    .iter()
                    .filter(|&&(_, _, stack)| !stack)
                    .map(|&(_, length, _)| length + u64::from(MESSAGE_OVERHEAD))
                    .sum();
                self.most_memory = self.most_memory.max(memory);
            }
            other => {
                if self.path == Path::Fast && other == Decision::Stack(Reason::QueueFull) {
                    self.calm = path::calm(self.queue, self.fast_messages - self.run_from);
                }
                if other == Decision::Calm {
                    self.calm -= 1;
                }
                if other != Decision::Heartbeat {
                    self.path = Path::Stack;
                }
                self.stack_age = 0;
                self.next_byte = first;
                self.give_to_stack(size);
            }
        }
    }

    fn give_to_stack(&mut self, size: u32) {
        self.under_way.push_back((self.next_byte, u64::from(size)));
        self.next_byte += u64::from(size);
        self.write_seq = self.write_seq.wrapping_add(size);
    }

    fn deliver(&mut self, packets: u8) {
        for _ in 0..packets {
            let Some((first, length)) = self.under_way.pop_front() else {
                return;
            };
            match self.mode {
                Mode::TxOnly => self.received.push_back((first, length)),
                Mode::Unified => self.redirected.push_back((first, length, true)),
            }
        }
    }

    /// Reads and says whether the bytes were the next ones.
    fn read(&mut self, mut most: u64) -> bool {
        while most > 0 {
            let (first, take, stack) = if let Some(message) = self.redirected.front_mut() {
                let take = most.min(message.1);
                let first = message.0;
                message.0 += take;
                message.1 -= take;
                (first, take, message.2)
            } else if let Some(packet) = self.received.front_mut() {
                let take = most.min(packet.1);
                let first = packet.0;
                packet.0 += take;
                packet.1 -= take;
                (first, take, true)
            } else {
                return true;
            };
            if first != self.read {
                return false;
            }
            self.read += take;
            most -= take;
            if stack {
                let take = u32::try_from(take).expect("a read is small");
                self.copied_seq = self.copied_seq.wrapping_add(take);
            }
            self.redirected.retain(|&(_, length, _)| length > 0);
            self.received.retain(|&(_, length)| length > 0);
        }
        true
    }

    /// Runs a schedule; false once a byte is out of order.
    fn run(&mut self, steps: &[Step], rule: fn(&Own, &Peer) -> Decision) -> bool {
        for step in steps {
            match *step {
                Step::Send(size) => self.send(u32::from(size).max(1), rule),
                Step::Deliver(packets) => self.deliver(packets),
                Step::Read(most) => {
                    if !self.read(u64::from(most)) {
                        return false;
                    }
                }
                Step::Around(size) => self.give_to_stack(u32::from(size).max(1)),
                Step::Wait(halves) => self.stack_age += u64::from(halves) * HEARTBEAT / 2,
                Step::Gate(open) => {
                    self.open = open;
                    if !open {
                        self.path = Path::Stack;
                    }
                }
            }
        }
        self.deliver(u8::MAX);
        self.deliver(u8::MAX);
        self.read(u64::MAX) && self.read == self.next_byte
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u16..3000).prop_map(Step::Send),
        1 => any::<u16>().prop_map(Step::Send),
        4 => (0_u8..4).prop_map(Step::Deliver),
        4 => any::<u16>().prop_map(Step::Read),
        1 => any::<bool>().prop_map(Step::Gate),
        1 => (1_u16..3000).prop_map(Step::Around),
        1 => (1_u8..3).prop_map(Step::Wait),
    ]
}

fn schedule() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..200)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::TxOnly), Just(Mode::Unified)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        mode in mode(),
        steps in schedule(),
        rcvbuf in 0_u32..300_000,
        queue in prop_oneof![Just(0), Just(QUEUE)],
        // Sequence numbers wrap.
        first_seq in prop_oneof![any::<u32>(), (u32::MAX - 100_000)..=u32::MAX],
    ) {
        let mut direction = Direction::new(mode, rcvbuf, first_seq);
        direction.queue = queue;
        prop_assert!(direction.run(&steps, decide));
    }

    #[test]
    fn kernel_memory_stays_below_the_receive_buffer(
        mode in mode(),
        steps in schedule(),
        rcvbuf in 0_u32..300_000,
    ) {
        let mut direction = Direction::new(mode, rcvbuf, 1);
        direction.run(&steps, decide);
        prop_assert!(direction.most_memory <= u64::from(rcvbuf));
    }

    #[test]
    fn a_drained_direction_becomes_fast_again(
        mode in mode(),
        steps in schedule(),
    ) {
        let mut direction = Direction::new(mode, 131_072, 1);
        direction.run(&steps, decide);
        direction.open = true;
        let before = direction.fast_messages;
        // One of them can be a heartbeat.
        for _ in 0..=CALM_SENDS + 1 {
            direction.send(100, decide);
            direction.deliver(u8::MAX);
            direction.read(u64::MAX);
        }
        prop_assert!(direction.fast_messages > before);
    }
}

/// Without the order rule the same model shows bytes out of order, so the
/// tests above can fail.
#[test]
fn the_model_sees_a_missing_order_rule() {
    fn never_waits(own: &Own, peer: &Peer) -> Decision {
        decide(
            own,
            &Peer {
                copied_seq: own.write_seq,
                ..*peer
            },
        )
    }
    let overtaking = [
        Step::Gate(false),
        Step::Send(10),
        Step::Gate(true),
        Step::Send(10),
    ];
    for mode in [Mode::TxOnly, Mode::Unified] {
        let mut direction = Direction::new(mode, 131_072, 1);
        assert!(!direction.run(&overtaking, never_waits));
        let mut direction = Direction::new(mode, 131_072, 1);
        assert!(direction.run(&overtaking, decide));
    }
}

/// A direction that trusted its own memory of the path would let a message
/// overtake one that went around the program.
#[test]
fn the_model_sees_a_message_that_goes_around() {
    fn trusting(own: &Own, peer: &Peer) -> Decision {
        decide(
            &Own {
                fast_write_seq: own.write_seq,
                ..*own
            },
            peer,
        )
    }
    let around = [Step::Send(10), Step::Around(10), Step::Send(10)];
    let mut direction = Direction::new(Mode::TxOnly, 131_072, 1);
    assert!(!direction.run(&around, trusting));
    let mut direction = Direction::new(Mode::TxOnly, 131_072, 1);
    assert!(direction.run(&around, decide));
}

/// Without back-pressure the same model shows memory above the bound.
#[test]
fn the_model_sees_missing_back_pressure() {
    fn never_full(own: &Own, peer: &Peer) -> Decision {
        decide(
            own,
            &Peer {
                queued: 0,
                limit: u32::MAX,
                ..*peer
            },
        )
    }
    let flood: Vec<Step> = (0..200).map(|_| Step::Send(1)).collect();
    let mut direction = Direction::new(Mode::TxOnly, 131_072, 1);
    direction.run(&flood, never_full);
    assert!(direction.most_memory > 131_072);
    let mut direction = Direction::new(Mode::TxOnly, 131_072, 1);
    direction.run(&flood, decide);
    assert!(direction.most_memory <= 131_072);
}
