//! What is shown, and what keys change.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Update;
use crate::traffic::{
    pairs::Pair,
    rates::{Order, Rates},
};

/// Letters of a filter, at most.
const LONGEST: usize = 60;

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What the last look has brought; none before the first.
    pub update: Option<Update>,
    /// The order of pairs.
    pub order: Order,
    /// Only pairs that mention this are shown.
    pub filter: String,
    /// The filter is being typed.
    pub is_typing: bool,
    /// Looks bring nothing new.
    pub is_paused: bool,
    /// Pairs that are shown, as places in the list of all.
    pub shown: Vec<usize>,
    /// The line that is chosen, of those that are shown.
    pub chosen: usize,
    /// The first line on the screen.
    pub first: usize,
    /// Lines that the screen has room for.
    pub room: usize,
    /// The time between two looks.
    pub interval: Duration,
    /// The chosen pair, once somebody has chosen one: the choice goes with it.
    follows: Option<u64>,
}

/// What a key asks of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To draw again.
    Draw,
    /// To end.
    End,
}

impl State {
    /// Begins with this order and filter.
    #[must_use]
    pub fn new(order: Order, filter: &str, interval: Duration) -> Self {
        Self {
            order,
            filter: filter.chars().take(LONGEST).collect(),
            interval,
            ..Self::default()
        }
    }

    /// Takes what a look has brought, unless it is paused.
    pub fn take(&mut self, update: Update) {
        if !self.is_paused || self.update.is_none() {
            self.update = Some(update);
            self.arrange();
        }
    }

    /// The rates that are shown.
    #[must_use]
    pub fn rates(&self) -> Option<&Rates> {
        self.update.as_ref().map(|update| &update.rates)
    }

    /// The pair of a line.
    #[must_use]
    pub fn pair(&self, line: usize) -> Option<&Pair> {
        self.rates()?.pairs.get(*self.shown.get(line)?)
    }

    /// Sorts and filters.
    fn arrange(&mut self) {
        let Some(update) = &mut self.update else {
            return;
        };
        update.rates.sort(self.order);
        let text = self.filter.to_lowercase();
        let pairs = update.rates.pairs.iter().enumerate();
        self.shown = pairs
            .filter(|(_, pair)| text.is_empty() || pair.mentions(&text))
            .map(|(at, _)| at)
            .collect();
        let followed = self.follows.and_then(|id| {
            let is = |line: &usize| {
                self.pair(*line)
                    .is_some_and(|pair| pair.client.end.id == id)
            };
            (0..self.shown.len()).find(is)
        });
        let last = self.shown.len().saturating_sub(1);
        self.chosen = followed.unwrap_or(self.chosen).min(last);
    }

    /// Says how many lines the screen has room for, and brings the chosen one into view.
    pub fn fit(&mut self, room: usize) {
        self.room = room;
        let least = (self.chosen + 1).saturating_sub(room);
        self.first = self.first.clamp(least, least.max(self.chosen));
        self.first = self
            .first
            .min(self.shown.len().saturating_sub(room))
            .max(least);
    }

    /// Does what a key asks for.
    pub fn key(&mut self, key: KeyEvent) -> Asked {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Asked::End,
            _ if self.is_typing => self.type_key(key.code),
            KeyCode::Char('q') => return Asked::End,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort(self.order.next()),
            KeyCode::Char('b') => self.sort(Order::Bytes),
            KeyCode::Char('m') => self.sort(Order::Messages),
            KeyCode::Char('t') => self.sort(Order::Trips),
            KeyCode::Char('/' | 'f') => self.is_typing = true,
            KeyCode::Esc => self.set_filter(String::new()),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.chosen.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.chosen.saturating_sub(1)),
            KeyCode::PageDown => self.choose(self.chosen.saturating_add(self.room)),
            KeyCode::PageUp => self.choose(self.chosen.saturating_sub(self.room)),
            KeyCode::End | KeyCode::Char('G') => self.choose(usize::MAX),
            KeyCode::Home | KeyCode::Char('g') => {
                self.choose(0);
                // The busiest again, whichever it is.
                self.follows = None;
            }
            _ => {}
        }
        Asked::Draw
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.set_filter(String::new());
            }
            KeyCode::Backspace => {
                let mut text = self.filter.clone();
                text.pop();
                self.set_filter(text);
            }
            KeyCode::Char(letter) if self.filter.chars().count() < LONGEST => {
                self.set_filter(format!("{}{letter}", self.filter));
            }
            _ => {}
        }
    }

    fn sort(&mut self, order: Order) {
        self.order = order;
        self.arrange();
    }

    fn set_filter(&mut self, text: String) {
        self.filter = text;
        self.arrange();
    }

    fn choose(&mut self, line: usize) {
        self.chosen = line.min(self.shown.len().saturating_sub(1));
        self.follows = self.pair(self.chosen).map(|pair| pair.client.end.id);
    }
}

#[cfg(test)]
mod tests;
