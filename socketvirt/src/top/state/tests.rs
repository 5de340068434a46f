use super::*;
use crate::traffic::sample::rates;

/// So many pairs, of which each next one carries less.
fn update(pairs: u64) -> Update {
    Update {
        rates: rates(pairs),
        ..Update::default()
    }
}

fn state(pairs: u64) -> State {
    let mut state = State::new(Order::Bytes, "", Duration::from_secs(1));
    state.take(update(pairs));
    state
}

fn press(state: &mut State, codes: impl IntoIterator<Item = KeyCode>) -> Asked {
    let mut asked = Asked::Draw;
    for code in codes {
        asked = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    asked
}

fn chosen(state: &State) -> Option<u64> {
    state.pair(state.chosen).map(|pair| pair.client.end.id)
}

#[test]
fn q_and_control_c_end_it_and_q_in_a_filter_does_not() {
    let mut one = state(1);
    assert_eq!(press(&mut one, [KeyCode::Char('q')]), Asked::End);
    assert_eq!(
        press(&mut one, [KeyCode::Char('/'), KeyCode::Char('q')]),
        Asked::Draw
    );
    assert_eq!(one.filter, "q");
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(one.key(key), Asked::End);
}

#[test]
fn a_filter_is_typed_corrected_kept_and_taken_away() {
    let mut all = state(20);
    let typed = "/client-1x".chars().map(KeyCode::Char);
    press(&mut all, typed);
    assert_eq!((all.shown.len(), all.is_typing), (0, true));
    press(&mut all, [KeyCode::Backspace, KeyCode::Enter]);
    // 1, and 10 to 19.
    assert_eq!((all.shown.len(), all.is_typing), (11, false));
    press(&mut all, [KeyCode::Esc]);
    assert_eq!((all.shown.len(), all.filter.as_str()), (20, ""));
    // No end of letters.
    press(&mut all, [KeyCode::Char('/')]);
    press(&mut all, vec![KeyCode::Char('ä'); 1000]);
    assert_eq!(all.filter.chars().count(), LONGEST);
}

#[test]
fn the_choice_follows_its_pair_and_home_goes_back_to_the_busiest() {
    let mut all = state(5);
    assert_eq!(chosen(&all), Some(1));
    press(&mut all, [KeyCode::Down, KeyCode::Down]);
    let followed = chosen(&all);
    press(
        &mut all,
        [KeyCode::Char('s'), KeyCode::Char('s'), KeyCode::Char('s')],
    );
    all.sort(Order::Process);
    assert_eq!(chosen(&all), followed);
    press(&mut all, [KeyCode::Home]);
    all.take(update(3));
    assert_eq!(all.chosen, 0);
}

#[test]
fn a_pair_that_ends_under_the_choice_leaves_the_choice_in_the_list() {
    let mut all = state(50);
    press(&mut all, [KeyCode::End]);
    assert_eq!(all.chosen, 49);
    all.take(update(2));
    assert_eq!(all.chosen, 1);
    all.take(update(0));
    assert_eq!((all.chosen, chosen(&all)), (0, None));
    press(
        &mut all,
        [KeyCode::Down, KeyCode::PageDown, KeyCode::Up, KeyCode::End],
    );
    assert_eq!(all.chosen, 0);
}

#[test]
fn the_chosen_line_is_always_in_view() {
    let mut all = state(100);
    all.fit(10);
    for (codes, first) in [
        (vec![KeyCode::PageDown], 1),
        (vec![KeyCode::PageDown, KeyCode::PageDown], 21),
        (vec![KeyCode::Up], 21),
        (vec![KeyCode::End], 90),
        (vec![KeyCode::Home], 0),
    ] {
        press(&mut all, codes.clone());
        all.fit(10);
        assert_eq!(all.first, first, "{codes:?}");
        assert!((all.first..all.first + 10).contains(&all.chosen));
    }
    // A screen without room.
    all.fit(0);
    all.fit(1000);
    assert_eq!(all.first, 0);
}

#[test]
fn a_paused_screen_stays_as_it_is() {
    let mut all = state(5);
    press(&mut all, [KeyCode::Char('p')]);
    all.take(update(2));
    assert_eq!(all.shown.len(), 5);
    press(&mut all, [KeyCode::Char(' ')]);
    all.take(update(2));
    assert_eq!(all.shown.len(), 2);
    // Paused before anything is there, it shows the first look.
    let mut none = State::new(Order::Bytes, "", Duration::from_secs(1));
    press(&mut none, [KeyCode::Char('p')]);
    none.take(update(2));
    assert_eq!(none.shown.len(), 2);
}
