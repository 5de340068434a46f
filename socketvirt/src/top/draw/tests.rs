use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    top::Update,
    traffic::{header::Header, rates::Order, sample, testing::path},
};

/// What a screen of this size shows.
fn screen(state: &mut State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, true)).unwrap();
    terminal.backend().to_string()
}

fn state(rates: Rates) -> State {
    let mut state = State::new(Order::Bytes, "", Duration::from_secs(1));
    state.take(Update {
        header: Header {
            agent: Some(7),
            mode: Some("adopt".to_owned()),
            asked: Some("adopt".to_owned()),
            receive_mode: Some("unified".to_owned()),
            paused: false,
        },
        rates,
    });
    state
}

/// A pair that is blocked for a reason.
fn blocked() -> Rates {
    sample::rates_of(|rows| {
        for row in rows {
            path(row).reason = "blocking";
            path(row).stack_bytes = 617;
        }
    })
}

#[test]
fn a_wide_screen_says_it_all_in_a_line() {
    let shown = screen(&mut state(blocked()), 160, 20);
    for part in [
        "agent 7: mode adopt, receive mode unified",
        "pairs 1, fast 0  1.2 kB/s (0% fast)",
        "client-0(1) 127.0.0.1:40000 [test.slice]",
        "server(2) 127.0.0.1:80 [test.slice]",
        "1.2k",
        "The file is in blocking mode",
        "blocking: The file is in blocking mode",
        "-> Make the socket non-blocking.",
        "by bytes, every 1s",
        "q quit",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
}

#[test]
fn a_narrow_screen_has_the_word_of_the_reason() {
    let shown = screen(&mut state(blocked()), 80, 24);
    let line = shown.lines().find(|line| line.contains("1.2k")).unwrap();
    assert!(
        line.contains("client-0(1) ")
            && line.contains("server(2) :80")
            && line.contains("blocking"),
        "{line}"
    );
}

#[test]
fn a_name_without_room_is_cut_before_the_port_of_the_server() {
    let rates = sample::rates_of(|rows| {
        for row in rows {
            row.owner.command = Some("redis-benchmark".to_owned());
            row.owner.pid = Some(4_194_303);
        }
    });
    let shown = screen(&mut state(rates), 80, 24);
    assert!(
        shown.contains("redis-benchmark    redis-benchma… :80"),
        "{shown}"
    );
}

#[test]
fn a_held_screen_says_so() {
    let mut held = state(blocked());
    held.is_paused = true;
    assert!(screen(&mut held, 80, 24).contains("HELD, p goes on"));
}

#[test]
fn no_size_is_too_small_or_too_large() {
    for width in [1, 2, 5, 13, 40, 79, 99, 400] {
        for height in [1, 2, 3, 4, 9, 16, 100] {
            for pairs in [0, 1, 1000] {
                screen(&mut state(sample::rates(pairs)), width, height);
            }
            screen(&mut State::default(), width, height);
        }
    }
}

#[test]
fn ten_thousand_pairs_are_a_screen_of_lines() {
    let mut all = state(sample::rates(10_000));
    let shown = screen(&mut all, 120, 30);
    assert_eq!(shown.lines().count(), 30);
    assert!(shown.contains("pairs 10000"), "{shown}");
}

#[test]
fn what_programs_call_themselves_does_not_reach_the_terminal_raw() {
    let rates = sample::rates_of(|rows| {
        for row in rows {
            row.owner.command = Some("a\x1b[31m\nb".to_owned());
            row.owner.cgroup = Some("/c\x1b]0;title\x07".to_owned());
        }
    });
    let shown = screen(&mut state(rates), 200, 20);
    assert!(shown.contains("a\\x1b[31m\\x0ab(1)"), "{shown}");
    assert!(!shown.contains('\x1b') && !shown.contains('\x07'));
}

#[test]
fn an_empty_screen_says_why() {
    let mut none = state(Rates::default());
    assert!(screen(&mut none, 100, 20).contains("no connection has both ends"));
    none.filter = "x".to_owned();
    assert!(screen(&mut none, 100, 20).contains("no pair mentions the filter"));
    assert!(screen(&mut State::default(), 100, 20).contains("measuring"));
}
