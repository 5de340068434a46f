//! Columns: clients stand left of their servers, and the same place stays together.

use std::collections::HashMap;

use crate::traffic::groups::Groups;

/// Columns at most; servers that lie deeper share the last one.
const DEEPEST: usize = 6;

/// Turns of the search for an order with few crossings.
const SWEEPS: usize = 8;

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A program.
    Node(usize),
    /// The way of a link that passes the column.
    Bend(usize),
}

/// The columns, and the way of each link through them.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// What stands in each column, from above.
    pub columns: Vec<Vec<Item>>,
    /// The column of each node.
    pub depths: Vec<usize>,
}

/// Puts all nodes and the ways of links into columns.
#[must_use]
pub fn columns(groups: &Groups) -> Columns {
    let depths = depths(groups);
    let count = depths.iter().max().map_or(0, |most| most + 1);
    let mut columns = vec![Vec::new(); count];
    for (node, depth) in depths.iter().enumerate() {
        columns[*depth].push(Item::Node(node));
    }
    for (at, link) in groups.links.iter().enumerate() {
        let (one, other) = (depths[link.client], depths[link.server]);
        for column in columns[one.min(other)..one.max(other)].iter_mut().skip(1) {
            column.push(Item::Bend(at));
        }
    }
    let mut all = Columns { columns, depths };
    for turn in 0..SWEEPS {
        all.sweep(groups, turn % 2 == 0);
    }
    all
}

/// The column of each node.
fn depths(groups: &Groups) -> Vec<usize> {
    let count = groups.nodes.len();
    // Without circles: the busiest links keep their direction.
    let mut servers = vec![Vec::new(); count];
    for link in &groups.links {
        if link.client != link.server && !reaches(&servers, link.server, link.client) {
            servers[link.client].push(link.server);
        }
    }
    let mut depths = vec![0; count];
    for _ in 0..DEEPEST {
        for client in 0..count {
            for server in &servers[client] {
                depths[*server] = depths[*server].max((depths[client] + 1).min(DEEPEST - 1));
            }
        }
    }
    // A client without clients stands beside its servers.
    for client in 0..count {
        if depths[client] == 0 {
            let nearest = servers[client].iter().map(|server| depths[*server]).min();
            depths[client] = nearest.map_or(0, |nearest| nearest.saturating_sub(1));
        }
    }
    // No column is empty.
    let mut used: Vec<usize> = depths.clone();
    used.sort_unstable();
    used.dedup();
    let place = |depth| used.iter().position(|one| *one == depth).unwrap_or(0);
    depths.into_iter().map(place).collect()
}

/// True when `to` can be reached.
fn reaches(servers: &[Vec<usize>], from: usize, to: usize) -> bool {
    let (mut seen, mut next) = (vec![false; servers.len()], vec![from]);
    while let Some(at) = next.pop() {
        if at == to {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            next.extend(&servers[at]);
        }
    }
    false
}

impl Columns {
    /// What a link meets in a column.
    fn met(&self, groups: &Groups, link: usize, column: usize) -> Option<Item> {
        let ends = &groups.links[link];
        let (client, server) = (self.depths[ends.client], self.depths[ends.server]);
        if client == column {
            Some(Item::Node(ends.client))
        } else if server == column {
            Some(Item::Node(ends.server))
        } else {
            let between = client.min(server)..client.max(server);
            between.contains(&column).then_some(Item::Bend(link))
        }
    }

    /// Sorts each column by where its neighbours of the column before stand.
    fn sweep(&mut self, groups: &Groups, to_the_right: bool) {
        let count = self.columns.len();
        for step in 1..count {
            let (column, beside) = if to_the_right {
                (step, step - 1)
            } else {
                (count - 1 - step, count - step)
            };
            let places: HashMap<Item, usize> = self.columns[beside]
                .iter()
                .enumerate()
                .map(|(place, item)| (*item, place))
                .collect();
            let middle = |item: &Item, own: usize| -> f64 {
                let of = |link: usize| self.met(groups, link, beside);
                let met: Vec<usize> = links_of(groups, *item)
                    .filter_map(of)
                    .filter_map(|item| places.get(&item).copied())
                    .collect();
                let own = share(own, self.columns[column].len());
                if met.is_empty() {
                    return own;
                }
                let sum: f64 = met.iter().map(|at| share(*at, places.len())).sum();
                sum / share(met.len(), 1)
            };
            let middles: Vec<(Item, f64)> = self.columns[column]
                .iter()
                .enumerate()
                .map(|(own, item)| (*item, middle(item, own)))
                .collect();
            self.columns[column] = together(groups, middles);
        }
    }
}

/// The links that end at an item, or pass there.
fn links_of(groups: &Groups, item: Item) -> impl Iterator<Item = usize> {
    let ends = move |at: &usize| match item {
        Item::Bend(link) => *at == link,
        Item::Node(node) => {
            let link = &groups.links[*at];
            link.client == node || link.server == node
        }
    };
    (0..groups.links.len()).filter(ends)
}

#[expect(clippy::cast_precision_loss, reason = "a place among some hundred")]
fn share(place: usize, of: usize) -> f64 {
    place as f64 / of.max(1) as f64
}

/// The block in a column that an item belongs to: programs of one cgroup stay together.
#[must_use]
pub fn block(groups: &Groups, item: Item) -> (Option<&str>, usize) {
    match item {
        Item::Bend(link) => (None, link + 1),
        Item::Node(node) => {
            let node = &groups.nodes[node];
            (node.cgroup.as_deref(), usize::MAX - node.others)
        }
    }
}

/// Sorts blocks by their middle, and items within them.
fn together(groups: &Groups, mut middles: Vec<(Item, f64)>) -> Vec<Item> {
    let mut sums: HashMap<_, (f64, usize)> = HashMap::new();
    for (item, middle) in &middles {
        let sum = sums.entry(block(groups, *item)).or_default();
        *sum = (sum.0 + middle, sum.1 + 1);
    }
    let of = |item: Item| {
        let (sum, count) = sums[&block(groups, item)];
        sum / share(count, 1)
    };
    middles.sort_by(|(one, own), (other, others)| {
        let blocks = of(*one).total_cmp(&of(*other));
        let names = block(groups, *one).cmp(&block(groups, *other));
        blocks.then(names).then(own.total_cmp(others))
    });
    middles.into_iter().map(|(item, _)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::groups::{Link, Node};

    fn groups(nodes: &[&str], links: &[(usize, usize)]) -> Groups {
        Groups {
            nodes: nodes
                .iter()
                .map(|cgroup| Node {
                    cgroup: Some((*cgroup).to_owned()),
                    ..Node::default()
                })
                .collect(),
            links: links
                .iter()
                .map(|(client, server)| Link {
                    client: *client,
                    server: *server,
                    ..Link::default()
                })
                .collect(),
        }
    }

    fn depths_of(count: usize, links: &[(usize, usize)]) -> Vec<usize> {
        depths(&groups(&vec!["/"; count], links))
    }

    #[test]
    fn servers_stand_right_of_their_clients() {
        assert_eq!(depths_of(3, &[(0, 1), (1, 2)]), [0, 1, 2]);
        // A client of the last one alone stands beside it.
        assert_eq!(depths_of(4, &[(0, 1), (1, 2), (3, 2)]), [0, 1, 2, 1]);
        assert_eq!(depths_of(0, &[]), [0; 0]);
    }

    #[test]
    fn a_circle_keeps_the_direction_of_its_busiest_links() {
        assert_eq!(depths_of(2, &[(0, 1), (1, 0)]), [0, 1]);
        assert_eq!(depths_of(3, &[(1, 2), (2, 0), (0, 1)]), [2, 0, 1]);
        assert_eq!(depths_of(1, &[(0, 0)]), [0]);
    }

    #[test]
    fn a_long_chain_shares_the_last_column() {
        let chain: Vec<(usize, usize)> = (0..29).map(|at| (at, at + 1)).collect();
        let depths = depths_of(30, &chain);
        assert_eq!(depths[..6], [0, 1, 2, 3, 4, 5]);
        assert!(depths[6..].iter().all(|depth| *depth == 5));
    }

    #[test]
    fn a_link_has_a_place_in_each_column_that_it_passes() {
        let all = columns(&groups(&["/"; 4], &[(0, 1), (1, 2), (0, 2)]));
        assert_eq!(all.columns[1].len(), 2);
        assert!(all.columns[1].contains(&Item::Bend(2)));
        // The last node has no links, and is there all the same.
        assert_eq!(all.depths[3], 0);
    }

    #[test]
    fn programs_of_one_place_stay_together_and_lines_do_not_cross_in_vain() {
        let all = columns(&groups(
            &["/a", "/b", "/a", "/s", "/s", "/s"],
            &[(0, 5), (1, 4), (2, 3)],
        ));
        let cgroups: Vec<_> = all.columns[0]
            .iter()
            .map(|item| match item {
                Item::Node(node) => *node,
                Item::Bend(_) => usize::MAX,
            })
            .collect();
        let middle = cgroups.iter().position(|node| *node == 1);
        assert_ne!(middle, Some(1), "{cgroups:?}");
    }
}
