//! The picture: SVG that stands alone, for light and dark pages, with a title and a
//! description for those who do not see it.

use svg::{
    Document,
    node::{
        Text as Plain,
        element::{
            Definitions, Description, Group, Path, Polygon, Rectangle, Style, Text, Title,
            path::Data,
        },
    },
};

use super::{
    Drawn, counted,
    layout::{self, ARROW, Area, INSET, LABEL, Layout, Line, MARGIN, Point},
    letters,
};
use crate::{
    table::names::escape,
    traffic::{
        groups::{Link, Node},
        units,
    },
};

/// Colours that people with any kind of colour vision tell apart, and a pattern beside
/// each. A program that knows no `@media` draws the light ones, on their own background.
const STYLE: &str = "
text { font-family: system-ui, 'DejaVu Sans', sans-serif; fill: #1b1f24 }
.page { fill: #ffffff }
.frame { fill: #f3f5f7; stroke: #c6ccd2 }
.box { fill: #ffffff; stroke: #57606a }
.small { fill: #4b535c }
.line { fill: none }
.fast { stroke: #0067b0 } .head.fast { fill: #0067b0 }
.mixed { stroke: #b07800; stroke-dasharray: 14 4 } .head.mixed { fill: #b07800 }
.stack { stroke: #c0410c; stroke-dasharray: 5 4 } .head.stack { fill: #c0410c }
.head { stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.page { fill: #0d1117 }
.frame { fill: #161b22; stroke: #3d444d }
.box { fill: #0d1117; stroke: #8b949e }
.small { fill: #a9b4bf }
.fast { stroke: #58a6ff } .head.fast { fill: #58a6ff }
.mixed { stroke: #e3b341 } .head.mixed { fill: #e3b341 }
.stack { stroke: #ff8f5e } .head.stack { fill: #ff8f5e }
}
";

/// The sizes of text.
const LARGE: f64 = 18.0;
const NORMAL: f64 = 13.0;
const SMALL: f64 = 11.0;

/// How far the curve of an arc is pulled out: past the label at its begin.
const ARC: f64 = 130.0;

/// The paths of the legend, and what they mean.
const LEGEND: [(&str, &str); 3] = [
    ("fast", "fast: past the TCP/IP stack"),
    ("mixed", "mixed"),
    ("stack", "stack: plain TCP"),
];

/// Draws it.
#[must_use]
pub fn render(drawn: &Drawn) -> String {
    let layout = layout::of(drawn);
    let (width, height) = (layout.width.ceil(), layout.height.ceil());
    let title = format!("Who talks to whom on {}", escape(drawn.host.as_bytes()));
    let summary = drawn.summary();
    let mut document = Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .set("role", "img")
        .set("aria-labelledby", "title desc")
        .add(Title::new(&title).set("id", "title"))
        .add(
            Description::new()
                .set("id", "desc")
                .add(Plain::new(described(drawn, &summary))),
        )
        .add(Definitions::new().add(Style::new(STYLE)))
        .add(rectangle((0.0, 0.0), (width, height), 0.0, "page"))
        .add(text(&title, (MARGIN, 38.0), LARGE, "").set("font-weight", "bold"))
        .add(text(&summary, (MARGIN, 60.0), NORMAL, "small"));
    for frame in &layout.frames {
        document = document.add(framed(drawn, frame));
    }
    for line in &layout.lines {
        document = document.add(connection(drawn, line));
    }
    for area in &layout.boxes {
        document = document.add(program(&drawn.groups.nodes[area.node], area));
    }
    for label in layout.lines.iter().filter_map(|line| line.label.as_ref()) {
        let anchor = if label.ends { "end" } else { "start" };
        let width = letters::wide(&label.text, LABEL);
        let left = if label.ends {
            label.at.0 - width
        } else {
            label.at.0
        };
        let below = (tidy(left), tidy(label.at.1 - LABEL));
        document = document
            .add(rectangle(below, (tidy(width), LABEL + 3.0), 3.0, "page"))
            .add(text(&label.text, label.at, LABEL, "small").set("text-anchor", anchor));
    }
    if drawn.groups.nodes.is_empty() {
        let words = "No connection between programs of this host was seen.";
        document = document.add(text(words, (MARGIN, height / 2.0), NORMAL, ""));
    }
    document.add(legend(&layout, drawn)).to_string() + "\n"
}

/// The picture in words.
fn described(drawn: &Drawn, summary: &str) -> String {
    let nodes = &drawn.groups.nodes;
    let links = drawn.groups.links.iter();
    let mut sentences = vec![format!("{summary}.")];
    sentences.extend(links.map(|link| {
        let name = |node: &Node| format!("{} ({})", node.title(), node.place);
        let (client, server) = (name(&nodes[link.client]), name(&nodes[link.server]));
        format!("{client} to {server}: {}.", words(link))
    }));
    sentences.join("\n")
}

/// A link in words.
fn words(link: &Link) -> String {
    let ports: Vec<String> = link.ports.iter().take(4).map(u32::to_string).collect();
    let more = if link.ports.len() > ports.len() {
        ", ..."
    } else {
        ""
    };
    let because = match link.reason {
        "none" => String::new(),
        reason => format!(", mostly {reason}"),
    };
    format!(
        "{} to port {}{more}, {}, {} fast, path {}{because}",
        counted(link.connections, "connection"),
        ports.join(", "),
        units::bytes(link.bytes_per_s),
        units::share(link.fast_share),
        link.path,
    )
}

fn rectangle(at: Point, size: Point, round: f64, class: &str) -> Rectangle {
    Rectangle::new()
        .set("x", at.0)
        .set("y", at.1)
        .set("width", size.0)
        .set("height", size.1)
        .set("rx", round)
        .set("class", class)
}

fn text(words: &str, at: Point, size: f64, class: &str) -> Text {
    Text::new(words)
        .set("x", tidy(at.0))
        .set("y", tidy(at.1))
        .set("font-size", size)
        .set("class", class)
}

/// The frame around the programs of one place.
fn framed(drawn: &Drawn, frame: &Area) -> Group {
    let node = &drawn.groups.nodes[frame.node];
    let place = if node.others > 0 {
        "elsewhere on this host"
    } else {
        &node.place
    };
    let room = frame.size.0 - 2.0 * INSET;
    let at = (frame.at.0 + INSET, frame.at.1 + 16.0);
    let cgroup = node.cgroup.as_deref().unwrap_or("-");
    Group::new()
        .add(Title::new(format!("cgroup {}", escape(cgroup.as_bytes()))))
        .add(rectangle(frame.at, frame.size, 8.0, "frame"))
        .add(text(&letters::cut(place, SMALL, room), at, SMALL, "small"))
}

/// The box of a program.
fn program(node: &Node, area: &Area) -> Group {
    let room = area.size.0 - 20.0;
    let (x, middle) = (area.at.0 + 10.0, area.at.1 + area.size.1 / 2.0);
    let pids: Vec<String> = node.pids.iter().map(u32::to_string).collect();
    let below = match &pids[..] {
        [one] => format!("{} · pid {one}", units::bytes(node.bytes_per_s)),
        _ => units::bytes(node.bytes_per_s),
    };
    let title = node.title();
    Group::new()
        .add(Title::new(format!(
            "{title}: processes {}",
            pids.join(", ")
        )))
        .add(rectangle(area.at, area.size, 5.0, "box"))
        .add(
            text(
                &letters::cut(&title, NORMAL, room),
                (x, middle - 3.0),
                NORMAL,
                "",
            )
            .set("font-weight", "bold"),
        )
        .add(text(
            &letters::cut(&below, SMALL, room),
            (x, middle + 13.0),
            SMALL,
            "small",
        ))
}

/// The line of a link, and its arrow.
fn connection(drawn: &Drawn, way: &Line) -> Group {
    let link = &drawn.groups.links[way.link];
    let mut data = Data::new();
    for (at, (from, to)) in way.curves.iter().enumerate() {
        let pull = if way.is_arc {
            ARC
        } else {
            (to.0 - from.0) / 2.0
        };
        let back = if way.is_arc { pull } else { -pull };
        data = if at == 0 {
            data.move_to((tidy(from.0), tidy(from.1)))
        } else {
            data.line_to((tidy(from.0), tidy(from.1)))
        };
        data = data.cubic_curve_to((
            tidy(from.0 + pull),
            tidy(from.1),
            tidy(to.0 + back),
            tidy(to.1),
            tidy(to.0),
            tidy(to.1),
        ));
    }
    let (x, y) = way.curves.last().map(|curve| curve.1).unwrap_or_default();
    let (tip, half) = (x + way.heads * ARROW, way.width / 2.0 + 2.5);
    let points = [(x, y - half), (tip, y), (x, y + half)];
    let points: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{},{}", tidy(*x), tidy(*y)))
        .collect();
    Group::new()
        .add(Title::new(words(link)))
        .add(
            Path::new()
                .set("d", data)
                .set("class", format!("line {}", link.path))
                .set("stroke-width", tidy(way.width)),
        )
        .add(
            Polygon::new()
                .set("points", points.join(" "))
                .set("class", format!("head {}", link.path)),
        )
}

fn legend(layout: &Layout, drawn: &Drawn) -> Group {
    let y = layout.height - 42.0;
    let mut x = MARGIN;
    let mut group = Group::new();
    for (path, words) in LEGEND {
        let line = Data::new().move_to((x, y)).line_by((46, 0));
        let sample = Path::new()
            .set("d", line)
            .set("class", format!("line {path}"))
            .set("stroke-width", 6);
        group = group
            .add(sample)
            .add(text(words, (x + 54.0, y + 4.0), SMALL, ""));
        x = (x + 54.0 + letters::wide(words, SMALL) + 24.0).round();
    }
    let links = drawn.groups.links.iter();
    let most = links.map(|link| link.bytes_per_s).fold(0.0, f64::max);
    let words = format!(
        "Arrows point from clients to servers. Wider lines carry more (widest: {}).",
        units::bytes(most)
    );
    group.add(text(&words, (MARGIN, y + 26.0), SMALL, "small"))
}

/// A tenth of a pixel is enough.
fn tidy(number: f64) -> f64 {
    units::tenths(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{groups::Groups, rates::Rates};

    fn drawn(name: &str) -> Drawn {
        let nodes = vec![
            Node {
                process: Some(name.to_owned()),
                place: "web.service".to_owned(),
                ..Node::default()
            };
            2
        ];
        let link = Link {
            client: 0,
            server: 1,
            connections: 3,
            bytes_per_s: 1e6,
            path: "mixed",
            reason: "bulk",
            ports: [80].into(),
            ..Link::default()
        };
        Drawn {
            host: "host".to_owned(),
            groups: Groups {
                nodes,
                links: vec![link],
            },
            programs: 2,
            rates: Rates::default(),
        }
    }

    #[test]
    fn the_picture_says_in_words_what_it_shows() {
        let picture = render(&drawn("nginx"));
        for part in [
            "role=\"img\"",
            "aria-labelledby=\"title desc\"",
            "Who talks to whom on host</title>",
            "nginx (web.service) to nginx (web.service): 3 connections to port 80, 1 MB/s, - fast, \
             path mixed, mostly bulk.",
            "prefers-color-scheme: dark",
        ] {
            assert!(picture.contains(part), "{part}: {picture}");
        }
    }

    #[test]
    fn a_name_is_text_and_nothing_else() {
        let picture = render(&drawn("</text><script>&\u{1b}\u{0}"));
        assert!(!picture.contains("<script"), "{picture}");
        assert!(!picture.contains(|letter: char| letter.is_control() && letter != '\n'));
        assert!(
            picture.contains("&lt;script&gt;&amp;\\x1b\\x00"),
            "{picture}"
        );
    }

    #[test]
    fn the_same_is_drawn_the_same() {
        assert_eq!(render(&drawn("a")), render(&drawn("a")));
    }
}
