//! Drawing the screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{
    cells::{self, Column, GAP},
    state::State,
};
use crate::traffic::{
    pairs::{Pair, Side},
    rates::Rates,
    units,
};

/// Lines below the list that describe the chosen pair.
const DETAILS: u16 = 5;

/// The same on a narrow screen, where they take two lines each.
const WRAPPED: u16 = 8;

/// A screen with fewer columns is narrow.
const NARROW: u16 = 120;

/// A screen that is lower has no room for them.
const LOW: u16 = 16;

/// The keys.
const KEYS: &str = "q quit  s sort  / filter  p pause  arrows choose";

/// Draws it, with colours or without.
pub fn draw(frame: &mut Frame<'_>, state: &mut State, colour: bool) {
    let details = match frame.area() {
        area if area.height < LOW => 0,
        area if area.width < NARROW => WRAPPED,
        _ => DETAILS,
    };
    let [head, titles, list, below, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(details),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    state.fit(usize::from(list.height));
    frame.render_widget(Paragraph::new(header(state)), head);
    let columns = cells::columns(usize::from(frame.area().width));
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(
        title_line(&columns, usize::from(titles.width)).style(reversed),
        titles,
    );
    lines(frame, state, &columns, list, colour);
    if let Some(pair) = state.pair(state.chosen) {
        let text = Paragraph::new(described(pair)).wrap(Wrap { trim: false });
        frame.render_widget(text, below);
    }
    frame.render_widget(last_line(state), keys);
}

/// Mode and totals.
fn header(state: &State) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let Some(update) = &state.update else {
        return vec![
            Line::styled("socketvirt top", bold),
            Line::raw("measuring ..."),
        ];
    };
    let title = if state.is_paused {
        "socketvirt top HELD, p goes on  "
    } else {
        "socketvirt top  "
    };
    let first = vec![Span::styled(title, bold), Span::raw(update.header.words())];
    vec![Line::from(first), Line::raw(totals(&update.rates))]
}

fn totals(rates: &Rates) -> String {
    let totals = &rates.totals;
    let away = match rates.elsewhere.connections {
        0 => String::new(),
        count => format!(
            "  other hosts: {count}, {} sent",
            units::bytes(rates.elsewhere.bytes_per_s)
        ),
    };
    format!(
        "pairs {}, fast {}  {} ({} fast)  {} messages/s  {} trips/s{away}",
        totals.pairs,
        totals.fast_pairs,
        units::bytes(totals.bytes_per_s),
        units::share(totals.fast_share),
        units::short(totals.messages_per_s),
        units::short(totals.round_trips_per_s),
    )
}

/// The text of a line: each cell as wide as its column.
fn row(columns: &[(Column, usize)], of: impl Fn(Column, usize) -> String) -> Vec<String> {
    let cell = |(column, width): &(Column, usize)| {
        let text = of(*column, *width);
        let fill = " ".repeat(width.saturating_sub(text.chars().count()));
        let gap = " ".repeat(GAP);
        if column.is_number() {
            format!("{fill}{text}{gap}")
        } else {
            format!("{text}{fill}{gap}")
        }
    };
    columns.iter().map(cell).collect()
}

fn title_line(columns: &[(Column, usize)], width: usize) -> Line<'static> {
    let titles = row(columns, |column, width| units::cut(column.title(), width));
    Line::raw(format!("{:<width$}", titles.concat()))
}

fn lines(
    frame: &mut Frame<'_>,
    state: &State,
    columns: &[(Column, usize)],
    area: Rect,
    colour: bool,
) {
    if state.shown.is_empty() && state.update.is_some() {
        let words = if state.filter.is_empty() {
            "no connection has both ends on this host"
        } else {
            "no pair mentions the filter; Esc takes it away"
        };
        frame.render_widget(Line::raw(words), area);
        return;
    }
    for (line, place) in (state.first..state.shown.len()).zip(area.rows()) {
        let Some(pair) = state.pair(line) else {
            continue;
        };
        let cells = row(columns, |column, width| column.cell(pair, width));
        let spans = columns.iter().zip(cells).map(|((column, _), text)| {
            let is_coloured = colour && matches!(column, Column::Path | Column::Fast);
            Span::styled(
                text,
                if is_coloured {
                    paint(pair.path)
                } else {
                    Style::new()
                },
            )
        });
        let mut shown: Line<'_> = spans.collect();
        if line == state.chosen {
            shown = shown.style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
        }
        frame.render_widget(shown, place);
    }
}

/// The colours of the table and the map.
fn paint(path: &str) -> Style {
    Style::new().fg(match path {
        "fast" => Color::Green,
        "mixed" => Color::Yellow,
        _ => Color::Red,
    })
}

/// The chosen pair, with everything that its line has no room for.
fn described(pair: &Pair) -> Vec<Line<'static>> {
    let side = |what: &str, side: &Side| {
        Line::raw(format!(
            "{what} {} {}  cgroup {}  sends {}, {} messages/s  {}",
            side.process(),
            side.end.address,
            side.end.cgroup.as_deref().map_or_else(
                || "-".to_owned(),
                |cgroup| crate::table::names::escape(cgroup.as_bytes())
            ),
            units::bytes(side.bytes_per_s),
            units::short(side.messages_per_s),
            side.end.path,
        ))
    };
    let why = match pair.reason {
        "none" if pair.path == "fast" => "fast: redirected from socket to socket".to_owned(),
        "none" => "no reason is known: no agent watches it, or none has looked yet".to_owned(),
        reason => format!("{reason}: {} -> {}", pair.why_not, pair.change),
    };
    vec![
        Line::raw(""),
        side("client", &pair.client),
        side("server", &pair.server),
        Line::raw(why.replace('`', "")),
    ]
}

/// The keys, or the filter.
fn last_line(state: &State) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    if state.is_typing {
        let typed = format!("filter: {}_", state.filter);
        return Line::from(vec![
            Span::styled(typed, bold),
            Span::raw("  Enter keeps it, Esc takes it away"),
        ]);
    }
    let filter = match state.filter.as_str() {
        "" => String::new(),
        filter => format!("  filter \"{filter}\": {}", state.shown.len()),
    };
    let every = humantime::format_duration(state.interval);
    Line::raw(format!(
        "{KEYS}  by {}, every {every}{filter}",
        state.order.word()
    ))
}

#[cfg(test)]
mod tests;
