//! The place of everything in the picture, in pixels.
//!
//! Boxes never overlap, because each column is a stack. Neither do labels: a link's slot
//! at its box is as high as its label, and a column's gap has room for the labels of
//! both sides.

use std::collections::HashMap;

use super::{
    Drawn,
    layers::{self, Columns, Item, block},
    letters,
};
use crate::traffic::{
    groups::{Groups, Link},
    units,
};

/// The width of a box.
pub const BOX: f64 = 190.0;
/// Between two columns.
const GAP: f64 = 190.0;
/// Around everything.
pub const MARGIN: f64 = 32.0;
/// Above the columns: title and summary.
const HEAD: f64 = 84.0;
/// Below them: the legend.
const FOOT: f64 = 74.0;
/// The least width, which the legend needs.
const NARROWEST: f64 = 760.0;
/// The least height of a box: two lines of text.
const LOWEST: f64 = 44.0;
/// Between boxes, and between frames.
const BETWEEN: f64 = 8.0;
const APART: f64 = 22.0;
/// Above the boxes of a frame, for its title.
const TITLE: f64 = 24.0;
/// From a frame to its boxes.
pub const INSET: f64 = 8.0;
/// The least height of a link's slot: that of its label.
const SLOT: f64 = 14.0;
/// The size of a link's label.
pub const LABEL: f64 = 10.0;
/// The room that it has.
const LABEL_ROOM: f64 = 80.0;
/// The widths of lines.
const THINNEST: f64 = 1.5;
const THICKEST: f64 = 14.0;
/// The length of the arrow at the server.
pub const ARROW: f64 = 8.0;

/// A point.
pub type Point = (f64, f64);

/// The picture.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
    /// Around the programs of one place.
    pub frames: Vec<Area>,
    /// The programs.
    pub boxes: Vec<Area>,
    /// The links.
    pub lines: Vec<Line>,
}

/// A box, or a frame.
#[derive(Clone, Debug)]
pub struct Area {
    /// The node that it shows; of a frame, the first one in it.
    pub node: usize,
    /// Its left upper corner.
    pub at: Point,
    /// Width and height.
    pub size: Point,
}

/// A link.
#[derive(Clone, Debug)]
pub struct Line {
    /// The link that it shows.
    pub link: usize,
    /// Pairs of points that are joined by curves, from the client on; between the end of
    /// one pair and the begin of the next the line is straight.
    pub curves: Vec<(Point, Point)>,
    /// Its width.
    pub width: f64,
    /// It leaves and arrives on the right.
    pub is_arc: bool,
    /// 1 where the arrow points to the right, or else -1.
    pub heads: f64,
    /// The bytes a second, where there are any.
    pub label: Option<Label>,
}

/// The label of a link.
#[derive(Clone, Debug)]
pub struct Label {
    /// The text.
    pub text: String,
    /// Where it begins, or ends.
    pub at: Point,
    /// It ends there.
    pub ends: bool,
}

/// A side of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Left,
    Right,
}

/// Where something stands: its column, and what it is.
type Place = (usize, Item);

/// The end of a link at a side of a node: link, and true for the client's.
type Slot = (usize, bool);

/// Gives everything its place.
#[must_use]
pub fn of(drawn: &Drawn) -> Layout {
    let groups = &drawn.groups;
    let columns = layers::columns(groups);
    let sides = sides(groups, &columns);
    let mut layout = Layout::default();
    let mut places = HashMap::new();
    let heights: Vec<f64> = (0..columns.columns.len())
        .map(|column| stack(groups, &columns, &sides, column).1)
        .collect();
    let highest = heights.iter().copied().fold(120.0, f64::max);
    for (column, height) in heights.iter().enumerate() {
        let left = MARGIN + INSET + number(column) * (BOX + GAP);
        let top = HEAD + (highest - height) / 2.0;
        for piece in stack(groups, &columns, &sides, column).0 {
            piece.place(column, (left, top), &mut layout, &mut places);
        }
    }
    layout.lines = lines(groups, &columns, &sides, &places);
    let count = number(heights.len().max(1));
    let across = 2.0 * (MARGIN + INSET) + count * BOX + (count - 1.0) * GAP;
    // Arcs of the last column need room.
    let arcs = layout.lines.iter().any(|line| {
        let last = columns.columns.len().saturating_sub(1);
        let link = &groups.links[line.link];
        line.is_arc && columns.depths[link.client] == last
    });
    layout.width = (across + if arcs { GAP } else { 0.0 }).max(NARROWEST);
    layout.height = HEAD + highest + FOOT;
    layout
}

/// A part of a column.
enum Piece {
    Frame { node: usize, top: f64, height: f64 },
    Node { node: usize, top: f64, height: f64 },
    Bend { link: usize, top: f64 },
}

impl Piece {
    fn place(
        self,
        column: usize,
        (left, top): Point,
        layout: &mut Layout,
        places: &mut HashMap<Place, Point>,
    ) {
        match self {
            Self::Frame {
                node,
                top: at,
                height,
            } => layout.frames.push(Area {
                node,
                at: (left - INSET, top + at),
                size: (BOX + 2.0 * INSET, height),
            }),
            Self::Node {
                node,
                top: at,
                height,
            } => {
                places.insert((column, Item::Node(node)), (left, top + at + height / 2.0));
                layout.boxes.push(Area {
                    node,
                    at: (left, top + at),
                    size: (BOX, height),
                });
            }
            Self::Bend { link, top: at } => {
                places.insert((column, Item::Bend(link)), (left, top + at));
            }
        }
    }
}

/// The pieces of a column, and its height.
fn stack(
    groups: &Groups,
    columns: &Columns,
    sides: &HashMap<(usize, Side), Vec<Slot>>,
    column: usize,
) -> (Vec<Piece>, f64) {
    let mut pieces = Vec::new();
    let mut top = 0.0;
    for items in columns.columns[column].chunk_by(|a, b| block(groups, *a) == block(groups, *b)) {
        if top > 0.0 {
            top += APART;
        }
        let began = top;
        for item in items {
            match *item {
                Item::Bend(link) => {
                    let height = thickness(groups, link).max(SLOT);
                    pieces.push(Piece::Bend {
                        link,
                        top: top + height / 2.0,
                    });
                    top += height;
                }
                Item::Node(node) => {
                    top += if top > began { BETWEEN } else { TITLE };
                    let height = height(groups, sides, node);
                    pieces.push(Piece::Node { node, top, height });
                    top += height;
                }
            }
        }
        if let Item::Node(node) = items[0] {
            top += INSET;
            let height = top - began;
            pieces.push(Piece::Frame {
                node,
                top: began,
                height,
            });
        }
    }
    (pieces, top)
}

/// The height of a box: its busier side has a slot for each link.
fn height(groups: &Groups, sides: &HashMap<(usize, Side), Vec<Slot>>, node: usize) -> f64 {
    let of = |side| {
        let slots = sides.get(&(node, side)).map_or(&[][..], Vec::as_slice);
        slots.iter().map(|slot| room(groups, slot.0)).sum::<f64>()
    };
    of(Side::Left).max(of(Side::Right)).max(LOWEST - 12.0) + 12.0
}

/// The height of a slot.
fn room(groups: &Groups, link: usize) -> f64 {
    (thickness(groups, link) + 2.0).max(SLOT)
}

/// The width of a link's line: its square grows with the traffic.
fn thickness(groups: &Groups, link: usize) -> f64 {
    let rate = |link: &Link| link.bytes_per_s;
    let most = groups.links.iter().map(rate).fold(0.0, f64::max);
    if most <= 0.0 {
        return THINNEST;
    }
    let share = rate(&groups.links[link]) / most;
    THINNEST + (THICKEST - THINNEST) * share.max(0.0).sqrt()
}

/// The side at which a link leaves its client, and the one at which it arrives.
fn ends(columns: &Columns, link: &Link) -> (Side, Side) {
    let (client, server) = (columns.depths[link.client], columns.depths[link.server]);
    match client.cmp(&server) {
        std::cmp::Ordering::Less => (Side::Right, Side::Left),
        std::cmp::Ordering::Equal => (Side::Right, Side::Right),
        std::cmp::Ordering::Greater => (Side::Left, Side::Right),
    }
}

/// The links at each side of each node, from above.
fn sides(groups: &Groups, columns: &Columns) -> HashMap<(usize, Side), Vec<Slot>> {
    let mut sides: HashMap<(usize, Side), Vec<(usize, Slot)>> = HashMap::new();
    let mut rank: HashMap<Place, usize> = HashMap::new();
    for (column, items) in columns.columns.iter().enumerate() {
        rank.extend(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| ((column, *item), at)),
        );
    }
    for (at, link) in groups.links.iter().enumerate() {
        let (leaves, arrives) = ends(columns, link);
        // Sorted by what it meets first: a bend, or the other end.
        let of = |from: usize, to: usize| {
            let (from, end) = (columns.depths[from], columns.depths[to]);
            let next = match from.cmp(&end) {
                std::cmp::Ordering::Less => from + 1,
                std::cmp::Ordering::Equal => from,
                std::cmp::Ordering::Greater => from - 1,
            };
            let bend = rank.get(&(next, Item::Bend(at)));
            *bend
                .or_else(|| rank.get(&(end, Item::Node(to))))
                .unwrap_or(&0)
        };
        let client = (of(link.client, link.server), (at, true));
        let server = (of(link.server, link.client), (at, false));
        sides.entry((link.client, leaves)).or_default().push(client);
        sides
            .entry((link.server, arrives))
            .or_default()
            .push(server);
    }
    sides
        .into_iter()
        .map(|(side, mut slots)| {
            slots.sort_by_key(|(rank, slot)| (*rank, slot.0, !slot.1));
            (side, slots.into_iter().map(|(_, slot)| slot).collect())
        })
        .collect()
}

fn lines(
    groups: &Groups,
    columns: &Columns,
    sides: &HashMap<(usize, Side), Vec<Slot>>,
    places: &HashMap<Place, Point>,
) -> Vec<Line> {
    let port = |node: usize, side: Side, slot: Slot| -> Point {
        let place = (columns.depths[node], Item::Node(node));
        let (left, middle) = places.get(&place).copied().unwrap_or_default();
        let slots = sides.get(&(node, side)).map_or(&[][..], Vec::as_slice);
        let all: f64 = slots.iter().map(|slot| room(groups, slot.0)).sum();
        let before = slots.iter().take_while(|one| **one != slot);
        let above: f64 = before.map(|slot| room(groups, slot.0)).sum();
        let x = if side == Side::Left { left } else { left + BOX };
        (x, middle - all / 2.0 + above + room(groups, slot.0) / 2.0)
    };
    let draw = |(at, link): (usize, &Link)| {
        let (leaves, arrives) = ends(columns, link);
        let from = port(link.client, leaves, (at, true));
        let to = port(link.server, arrives, (at, false));
        let heads = if arrives == Side::Left { 1.0 } else { -1.0 };
        let bends = bends(columns, link, at, places);
        let mut points = vec![from];
        points.extend(bends);
        points.push((to.0 - heads * ARROW, to.1));
        let width = thickness(groups, at);
        Line {
            link: at,
            curves: points.chunks_exact(2).map(|two| (two[0], two[1])).collect(),
            width,
            is_arc: leaves == arrives,
            heads,
            label: label(link, from, leaves),
        }
    };
    groups.links.iter().enumerate().map(draw).collect()
}

/// Where a link enters and leaves each column that it passes, from the client on.
fn bends(columns: &Columns, link: &Link, at: usize, places: &HashMap<Place, Point>) -> Vec<Point> {
    let (client, server) = (columns.depths[link.client], columns.depths[link.server]);
    let mut points = Vec::new();
    for column in (client.min(server)..client.max(server)).skip(1) {
        if let Some((left, y)) = places.get(&(column, Item::Bend(at))) {
            points.extend([(left - INSET, *y), (left + BOX + INSET, *y)]);
        }
    }
    if client > server {
        points.reverse();
    }
    points
}

fn label(link: &Link, from: Point, side: Side) -> Option<Label> {
    if link.bytes_per_s <= 0.0 {
        return None;
    }
    let text = units::bytes(link.bytes_per_s);
    let out = if side == Side::Right { 1.0 } else { -1.0 };
    Some(Label {
        text: letters::cut(&text, LABEL, LABEL_ROOM),
        at: (from.0 + out * 6.0, from.1 + LABEL * 0.36),
        ends: side == Side::Left,
    })
}

#[expect(clippy::cast_precision_loss, reason = "columns are few")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
