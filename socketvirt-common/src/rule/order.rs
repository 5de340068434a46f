//! The order rule: when a direction may go from the stack to the fast path.
//!
//! Redirected bytes are read before bytes that wait in the TCP receive queue,
//! or at least independently of bytes still under way. So a message may be
//! redirected only when no byte of the same direction can still be anywhere in
//! the stack.
//!
//! The other way needs no rule. A redirected byte is already in the receiver's
//! queue, ahead of anything that the stack delivers later.

/// True when the receiver has consumed every byte that the sender ever gave to
/// the stack.
///
/// `peer_copied_seq` is the receiver's `tcp_sock.copied_seq`: the next sequence
/// number to be read by the application. `own_write_seq` is the sender's
/// `tcp_sock.write_seq`: the next sequence number to be given to the stack.
/// Both are read while the sender's socket is locked.
///
/// They name the same sequence space, and their difference is bounded by the
/// buffers, far below 2^32. So equality is exact whatever the wrap-around.
///
/// This holds only while `copied_seq` counts bytes of the stack alone. The
/// start-up self-test proves that for the receive mode in use.
#[inline(always)]
#[must_use]
pub const fn drained(peer_copied_seq: u32, own_write_seq: u32) -> bool {
    peer_copied_seq == own_write_seq
}

/// Returns how many bytes at the front of a packet from `seq` to `end` its
/// receiver has had before. `next` is the number of the next byte that is new.
/// (RFC 9293, 3.10.7.4: a segment may overlap what was received.)
///
/// The stack keeps no packet without a new byte.
#[inline(always)]
#[must_use]
pub const fn repeated(next: u32, seq: u32, end: u32) -> u32 {
    let ahead = next.wrapping_sub(seq);
    let length = end.wrapping_sub(seq);
    if ahead < length { ahead } else { 0 }
}

/// The place at which the stream of an enrolled socket goes on: the value of
/// `sv_next`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// The number of the next byte that is new.
    pub seq: u32,
    /// 1 once a packet has told the number. Until then the next new byte is the
    /// one that is read next.
    pub told: u32,
}

impl Next {
    /// Takes a packet from `seq` to `end`, and returns how many bytes at its
    /// front were had before.
    ///
    /// `copied_seq` is the number of the next byte that the program reads.
    /// Bytes before the first packet were read when the socket was enrolled, or
    /// by a call that had begun before.
    #[inline(always)]
    pub const fn take(&mut self, copied_seq: u32, seq: u32, end: u32) -> u32 {
        let next = if self.told == 0 { copied_seq } else { self.seq };
        self.seq = end;
        self.told = 1;
        repeated(next, seq, end)
    }
}

/// True when the receiver has consumed at least one byte of the stack since it
/// was enrolled with `enrolled_copied_seq`.
///
/// A reader that entered `tcp_recvmsg` before the enrolment never looks at
/// redirected bytes. One byte consumed afterwards shows that the application
/// came back for another call. That call takes the new receive path.
#[inline(always)]
#[must_use]
pub const fn receiver_proved(peer_copied_seq: u32, enrolled_copied_seq: u32) -> bool {
    peer_copied_seq != enrolled_copied_seq
}
