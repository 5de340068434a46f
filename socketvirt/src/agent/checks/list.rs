//! The list of known differences. `docs/compatibility.md` says the same for
//! operators, `docs/kernel.md` how each was seen.

use socketvirt_common::reason::Reason;

use super::{
    Check,
    Enrolled::{ByScan, Eagerly},
    Keeper::{AdoptGuard, Guard, Kernel, LateGuard, Nobody, Rule},
    calls, closing, queue, resend, sleeping, subflows,
};

/// Every known difference; what rests on another one comes after it.
pub const LIST: &[Check] = &[
    Check {
        name: "redirect",
        title: "messages are redirected",
        fact: "bpf_msg_redirect_hash puts a message into the peer's queue",
        plain: "fast again",
        fixed_in: None,
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::arrives,
    },
    Check {
        name: "wake_up",
        title: "poll(2) sees what waits",
        fact: "redirected bytes wake readers; in unified mode, so do those of the stack",
        plain: "readable, readable",
        fixed_in: None,
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::wakes,
    },
    Check {
        name: "fionread_fast",
        title: "FIONREAD of redirected bytes",
        fact: "FIONREAD counts the TCP receive queue alone",
        plain: "4 bytes",
        fixed_in: Some("6.6.128, 6.12.75, 6.18.14"),
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::counts_fast,
    },
    Check {
        name: "fionread_stack",
        title: "FIONREAD of bytes of the stack",
        fact: "FIONREAD counts redirected bytes alone once it counts them",
        plain: "5 bytes",
        fixed_in: Some("about 7.3 for TX-only"),
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::counts_stack,
    },
    Check {
        name: "fionread_both",
        title: "FIONREAD of both",
        fact: "FIONREAD counts one of the two queues",
        plain: "9 bytes",
        fixed_in: Some("about 7.3 for TX-only"),
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::counts_both,
    },
    Check {
        name: "charged",
        title: "the receiver is charged",
        fact: "redirected bytes are not charged to sk_rmem_alloc, so nothing tells a full queue",
        plain: "charged",
        fixed_in: Some("5.10.234, 6.1.123, 6.12.8"),
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::is_charged,
    },
    Check {
        name: "edge",
        title: "edge-triggered epoll, both queued",
        fact: "recv returns the redirected bytes alone, short, and no further edge tells of the others",
        plain: "both queued",
        fixed_in: None,
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::edge_shows_both,
    },
    Check {
        name: "order",
        title: "redirected after unread bytes",
        fact: "a redirected message overtakes unread bytes of the stack",
        plain: "stack first",
        fixed_in: None,
        keeper: Rule("order"),
        enrolled: Eagerly,
        script: queue::keeps_order,
    },
    Check {
        name: "copied_seq",
        title: "redirected bytes leave copied_seq",
        fact: "the order rule compares copied_seq with what the stack was given",
        plain: "one two again",
        fixed_in: None,
        keeper: Kernel,
        enrolled: Eagerly,
        script: queue::becomes_fast_again,
    },
    Check {
        name: "overlap",
        title: "a packet that brings bytes again",
        fact: "in unified mode, packets are read whole whatever was read before; the data path cuts \
               that off",
        plain: "new",
        fixed_in: None,
        keeper: Kernel,
        enrolled: Eagerly,
        script: resend::is_read_once,
    },
    Check {
        name: "back_pressure",
        title: "a reader that does not read",
        fact: "a redirect is never refused for a full queue: memory runs out, then ENOMEM",
        plain: "EAGAIN, every byte in order",
        fixed_in: None,
        keeper: Rule("queue_full"),
        enrolled: Eagerly,
        script: queue::pushes_back,
    },
    Check {
        name: "adoption",
        title: "adopted and released in mid-life",
        fact: "needs a TCP iterator that holds the socket's lock",
        plain: "adopted, released",
        fixed_in: Some("6.5"),
        keeper: Kernel,
        enrolled: ByScan,
        script: queue::lives,
    },
    Check {
        name: "send_after_shutdown",
        title: "send after shutdown(SHUT_WR)",
        fact: "a redirect does not look at the sender's state: the send succeeds",
        plain: "EPIPE, last",
        fixed_in: None,
        keeper: Rule("closing"),
        enrolled: Eagerly,
        script: closing::after_shutdown,
    },
    Check {
        name: "reconnect",
        title: "connect(AF_UNSPEC) and connect again",
        fact: "redirected bytes of the old connection are read on the new one",
        plain: "new",
        fixed_in: None,
        keeper: Rule("reconnect"),
        enrolled: Eagerly,
        script: closing::reconnect,
    },
    Check {
        name: "mptcp",
        title: "Multipath TCP",
        fact: "a subflow in a socket map breaks the connection; refused since 6.1.159, 6.12.63, 6.18",
        plain: "subflow, 0 enrolled",
        fixed_in: Some("6.1.159, 6.12.63, 6.18"),
        keeper: Rule("mptcp"),
        enrolled: Eagerly,
        script: subflows::stay_off,
    },
    Check {
        name: "ktls",
        title: "kTLS",
        fact: "a socket in a socket map cannot take kTLS, nor the reverse",
        plain: "accepted",
        fixed_in: None,
        keeper: Guard(Reason::Ulp),
        enrolled: Eagerly,
        script: calls::tls,
    },
    Check {
        name: "siocoutq",
        title: "SIOCOUTQ",
        fact: "redirected bytes never wait in the send queue; they have arrived",
        plain: "0 bytes",
        fixed_in: None,
        keeper: Kernel,
        enrolled: Eagerly,
        script: calls::unsent,
    },
    Check {
        name: "rcvlowat",
        title: "SO_RCVLOWAT",
        fact: "redirected bytes wake readers whatever SO_RCVLOWAT says",
        plain: "not readable",
        fixed_in: None,
        keeper: Guard(Reason::Rcvlowat),
        enrolled: Eagerly,
        script: calls::low_water,
    },
    Check {
        name: "splice",
        title: "splice(2) out of the socket",
        fact: "splice(2) does not see redirected bytes; in unified mode, none at all",
        plain: "5 bytes",
        fixed_in: None,
        keeper: Guard(Reason::Splice),
        enrolled: Eagerly,
        script: calls::splice,
    },
    Check {
        name: "zero_copy",
        title: "MSG_ZEROCOPY",
        fact: "the completion of a redirected zero-copy send never comes",
        plain: "zero, completed",
        fixed_in: None,
        keeper: Guard(Reason::ZeroCopy),
        enrolled: Eagerly,
        script: calls::zero_copy,
    },
    Check {
        name: "timestamp",
        title: "SO_TIMESTAMP",
        fact: "redirected bytes have no time stamp",
        plain: "time stamp",
        fixed_in: None,
        keeper: Guard(Reason::Timestamp),
        enrolled: Eagerly,
        script: calls::time_stamp,
    },
    Check {
        name: "tcp_inq",
        title: "TCP_INQ",
        fact: "a receive of redirected bytes does not tell what is left",
        plain: "told",
        fixed_in: None,
        keeper: Guard(Reason::Inq),
        enrolled: Eagerly,
        script: calls::inq,
    },
    Check {
        name: "peek_offset",
        title: "SO_PEEK_OFF",
        fact: "a peek at redirected bytes begins at the first one",
        plain: "ek",
        fixed_in: None,
        keeper: Guard(Reason::PeekOffset),
        enrolled: Eagerly,
        script: calls::peek_offset,
    },
    Check {
        name: "waitall",
        title: "MSG_WAITALL, blocking",
        fact: "returns with the first redirected bytes",
        plain: "wait all",
        fixed_in: None,
        keeper: AdoptGuard(Reason::Blocking),
        enrolled: Eagerly,
        script: sleeping::wait_all,
    },
    Check {
        name: "signal",
        title: "blocking recv and a signal",
        fact: "returns EAGAIN, also with SA_RESTART: the wait is not looped",
        plain: "restarted",
        fixed_in: None,
        keeper: AdoptGuard(Reason::Blocking),
        enrolled: Eagerly,
        script: sleeping::signal,
    },
    Check {
        name: "second_writer",
        title: "blocking recv, another thread writes",
        fact: "returns EAGAIN when the send buffer drains: the wait is not looped",
        plain: "read on",
        fixed_in: None,
        keeper: AdoptGuard(Reason::Blocking),
        enrolled: Eagerly,
        script: sleeping::writer,
    },
    Check {
        name: "reset",
        title: "blocking recv and a reset",
        fact: "returns EAGAIN first, the error at the next call",
        plain: "ECONNRESET",
        fixed_in: None,
        keeper: AdoptGuard(Reason::Blocking),
        enrolled: Eagerly,
        script: sleeping::reset,
    },
    Check {
        name: "trunc_null",
        title: "MSG_TRUNC without a buffer",
        fact: "EFAULT instead of discarding",
        plain: "4 bytes",
        fixed_in: None,
        keeper: LateGuard(
            Reason::Discards,
            "keep out programs that discard with MSG_TRUNC; few do, and each shows it once, then \
             its sockets are kept off",
        ),
        enrolled: Eagerly,
        script: calls::discard,
    },
    Check {
        name: "more",
        title: "MSG_MORE",
        fact: "a redirect holds nothing back; the data path leaves such messages to the stack where it \
               can see the flags of a send",
        plain: "held",
        fixed_in: None,
        keeper: Nobody("what is sent with MSG_MORE arrives at once; few programs can tell"),
        enrolled: Eagerly,
        script: calls::more,
    },
    Check {
        name: "oob",
        title: "MSG_OOB",
        fact: "urgent data that is sent to an enrolled socket arrives among the normal data",
        plain: "urgent",
        fixed_in: None,
        keeper: LateGuard(
            Reason::SignalDriven,
            "keep out telnet, rlogin, rsh and old FTP, which use urgent data; those that want \
             SIGURG are kept off, the others show it once",
        ),
        enrolled: Eagerly,
        script: calls::urgent,
    },
    Check {
        name: "close_unread",
        title: "close with bytes unread",
        fact: "redirected bytes do not count as unread: the peer gets FIN and not a reset",
        plain: "ECONNRESET",
        fixed_in: None,
        keeper: LateGuard(
            Reason::ClosedUnread,
            "keep out programs that tell by a reset that they have dropped a request; each shows \
             it once, then its sockets are kept off",
        ),
        enrolled: Eagerly,
        script: closing::unread,
    },
    Check {
        name: "counters",
        title: "TCP_INFO",
        fact: "its counters do not see redirected bytes",
        plain: "4 bytes",
        fixed_in: None,
        keeper: Nobody("read the socket table instead: `socketvirt table`, `socketvirt show`"),
        enrolled: Eagerly,
        script: calls::counters,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_and_words() {
        for (index, check) in LIST.iter().enumerate() {
            let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(check.name.bytes().all(word), "{}", check.name);
            let earlier = &LIST[..index];
            assert!(earlier.iter().all(|other| other.name != check.name));
        }
    }

    /// What every enrolled socket depends on decides about the receive mode;
    /// without any of it, every mode would pass.
    #[test]
    fn the_start_has_something_to_run() {
        let at_start = LIST.iter().filter(|check| check.concerns_every_socket());
        assert!(at_start.count() >= 10);
    }
}
