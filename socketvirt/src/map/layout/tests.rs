use super::*;
use crate::traffic::{groups::Node, rates::Rates};

/// A picture of so many programs in so many places, with these links.
fn drawn(count: usize, places: usize, links: &[(usize, usize)]) -> Drawn {
    let nodes = (0..count).map(|at| Node {
        process: Some(format!("a-long-name-{at}")),
        cgroup: Some(format!("/place-{}", at % places)),
        ..Node::default()
    });
    let links = links
        .iter()
        .zip(1_u32..)
        .map(|((client, server), rate)| Link {
            client: *client,
            server: *server,
            bytes_per_s: 1e6 * f64::from(rate),
            ..Link::default()
        });
    Drawn {
        host: "host".to_owned(),
        groups: Groups {
            nodes: nodes.collect(),
            links: links.collect(),
        },
        programs: count,
        rates: Rates::default(),
    }
}

/// Left, top, right, bottom.
type Edges = [f64; 4];

fn overlap(one: Edges, other: Edges) -> bool {
    one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3]
}

fn edges(area: &Area) -> Edges {
    let ((left, top), (width, height)) = (area.at, area.size);
    [left, top, left + width, top + height]
}

fn edges_of_label(label: &Label) -> Edges {
    let width = letters::wide(&label.text, LABEL);
    let left = if label.ends {
        label.at.0 - width
    } else {
        label.at.0
    };
    [left, label.at.1 - LABEL, left + width, label.at.1 + 2.0]
}

#[track_caller]
fn apart(what: &str, all: &[Edges]) {
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert!(!overlap(*one, *other), "{what}: {one:?} {other:?}");
        }
    }
}

/// Links in all directions: chains, circles, the same column, a program with itself.
fn links(count: usize) -> Vec<(usize, usize)> {
    let chain = (1..count).map(|at| (at - 1, at));
    let back = (0..count).step_by(3).map(|at| (at, at / 2));
    let hub = (0..count).map(|at| (at, count / 2));
    chain.chain(back).chain(hub).collect()
}

#[test]
fn nothing_overlaps_with_up_to_thirty_programs() {
    for count in [1, 2, 3, 7, 15, 30] {
        for places in [1, 4, 30] {
            let drawn = drawn(count, places, &links(count));
            let layout = of(&drawn);
            assert_eq!(layout.boxes.len(), count);
            let boxes: Vec<Edges> = layout.boxes.iter().map(edges).collect();
            let labels = layout.lines.iter().filter_map(|line| line.label.as_ref());
            let labels: Vec<Edges> = labels.map(edges_of_label).collect();
            assert_eq!(labels.len(), drawn.groups.links.len());
            apart("boxes and labels", &[boxes.clone(), labels].concat());
            apart(
                "frames",
                &layout.frames.iter().map(edges).collect::<Vec<_>>(),
            );
            for one in &boxes {
                let inside = one[0] >= 0.0
                    && one[1] >= HEAD
                    && one[2] <= layout.width
                    && one[3] <= layout.height - FOOT;
                assert!(inside, "{one:?} of {} x {}", layout.width, layout.height);
            }
        }
    }
}

#[test]
fn a_picture_of_nothing_has_room_for_its_words() {
    let layout = of(&drawn(0, 1, &[]));
    assert!(layout.width >= NARROWEST && layout.boxes.is_empty());
}

#[test]
fn each_line_begins_at_its_client_and_ends_at_its_server() {
    let drawn = drawn(
        6,
        2,
        &[(0, 1), (1, 2), (0, 2), (2, 0), (3, 3), (4, 2), (5, 2)],
    );
    let layout = of(&drawn);
    let at = |node: usize| {
        let all = &layout.boxes;
        edges(all.iter().find(|one| one.node == node).expect("a box"))
    };
    for line in &layout.lines {
        let link = &drawn.groups.links[line.link];
        let (from, to) = (line.curves[0].0, line.curves.last().unwrap().1);
        let touches = |edges: Edges, point: Point, room: f64| {
            let beside = [edges[0], edges[2]]
                .iter()
                .any(|x| (x - point.0).abs() <= room);
            beside && edges[1] <= point.1 && point.1 <= edges[3]
        };
        assert!(touches(at(link.client), from, 0.01), "{line:?}");
        assert!(touches(at(link.server), to, ARROW + 0.01), "{line:?}");
    }
}

#[test]
fn more_traffic_is_a_wider_line() {
    let drawn = drawn(5, 1, &[(0, 4), (1, 4), (2, 4), (3, 4)]);
    let widths: Vec<f64> = of(&drawn).lines.iter().map(|line| line.width).collect();
    assert!(widths.is_sorted(), "{widths:?}");
    assert!((widths[3] - THICKEST).abs() < 0.01);
}
