//! The checks that try the known differences, each on live connections.

use socketvirt_common::difference::named;

use super::{
    Check,
    Enrolled::{ByScan, Eagerly},
    calls, closing, options, queue, resend, sleeping, subflows,
};

/// Every check; what rests on another one comes after it.
pub const LIST: &[Check] = &[
    Check {
        difference: named("redirect"),
        enrolled: Eagerly,
        script: queue::arrives,
    },
    Check {
        difference: named("wake_up"),
        enrolled: Eagerly,
        script: queue::wakes,
    },
    Check {
        difference: named("fionread_fast"),
        enrolled: Eagerly,
        script: queue::counts_fast,
    },
    Check {
        difference: named("fionread_stack"),
        enrolled: Eagerly,
        script: queue::counts_stack,
    },
    Check {
        difference: named("fionread_both"),
        enrolled: Eagerly,
        script: queue::counts_both,
    },
    Check {
        difference: named("charged"),
        enrolled: Eagerly,
        script: queue::is_charged,
    },
    Check {
        difference: named("edge"),
        enrolled: Eagerly,
        script: queue::edge_shows_both,
    },
    Check {
        difference: named("order"),
        enrolled: Eagerly,
        script: queue::keeps_order,
    },
    Check {
        difference: named("copied_seq"),
        enrolled: Eagerly,
        script: queue::becomes_fast_again,
    },
    Check {
        difference: named("overlap"),
        enrolled: Eagerly,
        script: resend::is_read_once,
    },
    Check {
        difference: named("back_pressure"),
        enrolled: Eagerly,
        script: queue::pushes_back,
    },
    Check {
        difference: named("adoption"),
        enrolled: ByScan,
        script: queue::lives,
    },
    Check {
        difference: named("send_after_shutdown"),
        enrolled: Eagerly,
        script: closing::after_shutdown,
    },
    Check {
        difference: named("reconnect"),
        enrolled: Eagerly,
        script: closing::reconnect,
    },
    Check {
        difference: named("mptcp"),
        enrolled: Eagerly,
        script: subflows::stay_off,
    },
    Check {
        difference: named("ktls"),
        enrolled: Eagerly,
        script: options::tls,
    },
    Check {
        difference: named("siocoutq"),
        enrolled: Eagerly,
        script: calls::unsent,
    },
    Check {
        difference: named("rcvlowat"),
        enrolled: Eagerly,
        script: options::low_water,
    },
    Check {
        difference: named("splice"),
        enrolled: Eagerly,
        script: calls::splice,
    },
    Check {
        difference: named("zero_copy"),
        enrolled: Eagerly,
        script: options::zero_copy,
    },
    Check {
        difference: named("timestamp"),
        enrolled: Eagerly,
        script: options::time_stamp,
    },
    Check {
        difference: named("tcp_inq"),
        enrolled: Eagerly,
        script: options::inq,
    },
    Check {
        difference: named("peek_offset"),
        enrolled: Eagerly,
        script: options::peek_offset,
    },
    Check {
        difference: named("filter"),
        enrolled: Eagerly,
        script: options::filter,
    },
    Check {
        difference: named("pacing"),
        enrolled: Eagerly,
        script: options::pacing,
    },
    Check {
        difference: named("zero_copy_receive"),
        enrolled: Eagerly,
        script: options::zero_copy_receive,
    },
    Check {
        difference: named("waitall"),
        enrolled: Eagerly,
        script: sleeping::wait_all,
    },
    Check {
        difference: named("signal"),
        enrolled: Eagerly,
        script: sleeping::signal,
    },
    Check {
        difference: named("second_writer"),
        enrolled: Eagerly,
        script: sleeping::writer,
    },
    Check {
        difference: named("reset"),
        enrolled: Eagerly,
        script: sleeping::reset,
    },
    Check {
        difference: named("trunc_null"),
        enrolled: Eagerly,
        script: calls::discard,
    },
    Check {
        difference: named("more"),
        enrolled: Eagerly,
        script: calls::more,
    },
    Check {
        difference: named("oob"),
        enrolled: Eagerly,
        script: calls::urgent,
    },
    Check {
        difference: named("close_unread"),
        enrolled: Eagerly,
        script: closing::unread,
    },
    Check {
        difference: named("counters"),
        enrolled: Eagerly,
        script: calls::counters,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_has_one_check_at_most() {
        for (index, check) in LIST.iter().enumerate() {
            let name = check.difference.name;
            let earlier = &LIST[..index];
            assert!(
                earlier.iter().all(|other| other.difference.name != name),
                "{name}"
            );
        }
    }

    /// Checks that concern every enrolled socket decide about the receive mode;
    /// without any of them, every mode would pass.
    #[test]
    fn the_start_has_something_to_run() {
        let at_start = LIST.iter().filter(|check| check.concerns_every_socket());
        assert!(at_start.count() >= 10);
    }
}
