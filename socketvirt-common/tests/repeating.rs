//! Bytes that a sender sends again, together with new ones, are read once.

use proptest::prelude::*;
use socketvirt_common::rule::order::{Next, repeated};

/// The receiver: TCP, which keeps any packet that brings something new and lies
/// at its next byte, and the verdict program behind it.
struct Receiver {
    next: u32,
    read: Vec<u8>,
    ended: bool,
}

impl Receiver {
    /// A packet of these bytes from `seq` on, the last of them with a FIN, which
    /// has a sequence number of its own.
    fn packet(&mut self, seq: u32, bytes: &[u8], fin: bool) {
        let end = seq
            .wrapping_add(u32::try_from(bytes.len()).expect("a packet"))
            .wrapping_add(u32::from(fin));
        let behind = self.next.wrapping_sub(seq).cast_signed();
        let new = end.wrapping_sub(self.next).cast_signed();
        // tcp_data_queue: not yet, or nothing new.
        if behind < 0 || new <= 0 {
            return;
        }
        let cut = usize::try_from(repeated(self.next, seq, end)).expect("a packet");
        self.read.extend(&bytes[cut..]);
        self.ended |= fin;
        self.next = end;
    }
}

#[test]
fn what_begins_at_the_next_byte_repeats_nothing() {
    assert_eq!(repeated(100, 100, 130), 0);
    assert_eq!(repeated(0, 0, 1), 0);
    assert_eq!(repeated(u32::MAX, u32::MAX, 9), 0);
}

#[test]
fn what_begins_earlier_repeats_the_difference() {
    assert_eq!(repeated(100, 90, 130), 10);
    assert_eq!(repeated(100, 90, 101), 10);
}

#[test]
fn sequence_numbers_wrap() {
    assert_eq!(repeated(5, u32::MAX - 4, 35), 10);
    assert_eq!(repeated(0, u32::MAX, 1), 1);
    assert_eq!(repeated(u32::MAX, u32::MAX - 9, 3), 9);
}

/// Every byte has been there and the end has not: it takes the last number.
#[test]
fn an_end_may_be_all_that_is_new() {
    let mut receiver = Receiver {
        next: 100,
        read: Vec::new(),
        ended: false,
    };
    receiver.packet(90, &[1; 10], true);
    assert_eq!((receiver.read.len(), receiver.ended), (0, true));
    assert_eq!(repeated(100, 90, 101), 10);
}

/// Packets that lie elsewhere say nothing of what they repeat: none is cut.
#[test]
fn what_is_out_of_step_is_left_alone() {
    // Ahead of the next byte.
    assert_eq!(repeated(100, 110, 130), 0);
    // Nothing new in it.
    assert_eq!(repeated(130, 100, 130), 0);
    assert_eq!(repeated(131, 100, 130), 0);
    // Nothing in it at all.
    assert_eq!(repeated(100, 100, 100), 0);
}

proptest! {
    /// The sender goes on from any byte before the one that comes next, as far
    /// as it likes, and ends once it has sent all.
    #[test]
    fn each_byte_is_read_once(
        first in any::<u32>(),
        stream in prop::collection::vec(any::<u8>(), 1..2000),
        steps in prop::collection::vec((0_usize..300, 1_usize..400), 1..60),
    ) {
        let mut receiver = Receiver { next: first, read: Vec::new(), ended: false };
        let mut sent = 0_usize;
        for (back, length) in steps.iter().chain(std::iter::once(&(0, usize::MAX))) {
            let from = sent.saturating_sub(*back);
            let to = from.saturating_add(*length).min(stream.len());
            let seq = first.wrapping_add(u32::try_from(from).expect("short"));
            receiver.packet(seq, &stream[from..to], to == stream.len());
            sent = sent.max(to);
        }
        prop_assert_eq!(&receiver.read, &stream);
        prop_assert!(receiver.ended);
    }

    /// A cut leaves something of the packet, and no more than was asked for.
    #[test]
    fn a_cut_is_within_the_packet(next in any::<u32>(), seq in any::<u32>(), length in 0_u32..1 << 19) {
        let cut = repeated(next, seq, seq.wrapping_add(length));
        prop_assert!(cut == 0 || cut < length && seq.wrapping_add(cut) == next);
    }
}

/// A socket is enrolled with bytes unread: they begin where its program reads.
#[test]
fn what_was_read_before_the_first_packet_is_not_read_again() {
    let mut next = Next::default();
    // Nothing was read of it.
    assert_eq!(next.take(100, 100, 130), 0);
    // Reads that come afterwards say nothing of the packets that follow.
    assert_eq!(next.take(115, 130, 160), 0);
    assert_eq!(next.take(u32::MAX, 150, 170), 10);
    // A call that had begun before has read half of the first one.
    let mut next = Next::default();
    assert_eq!(next.take(110, 100, 130), 10);
    assert_eq!(next.take(110, 130, 140), 0);
    // The number 0 is one like any other.
    let mut next = Next::default();
    assert_eq!(next.take(0, 0, 10), 0);
    assert_eq!(next.take(0, 5, 20), 5);
    let mut next = Next::default();
    assert_eq!(next.take(5, u32::MAX - 4, 20), 10);
}
