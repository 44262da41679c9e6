//! In which order a node's requests turn to other nodes.

use super::NodeMask;
use crate::frame::{NODES_MAX, Nid};

/// What is added to the distance of a node that has CPUs, which will want its memory themselves
/// (`PENALTY_FOR_NODE_WITH_CPUS`).
const PENALTY_FOR_NODE_WITH_CPUS: u64 = 1;

/// How far each node's memory is from each node's CPUs, in tenths of a local access (ACPI SLIT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distances {
    nodes: usize,
    /// Row by row.
    matrix: Box<[u32]>,
}

impl Distances {
    /// Asks `distance` for each pair of nodes: from, to.
    pub fn collect(nodes: usize, distance: impl Fn(Nid, Nid) -> u32) -> Self {
        let all = || (0..nodes).map(Nid::new);
        let matrix =
            all().flat_map(|from| all().map(move |to| (from, to))).map(|(from, to)| distance(from, to));
        Self { nodes, matrix: matrix.collect() }
    }

    /// Returns the number of nodes.
    pub const fn nodes(&self) -> usize {
        self.nodes
    }

    /// Returns a distance.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn get(&self, from: Nid, to: Nid) -> u32 {
        assert!(to.index() < self.nodes, "there are {} nodes", self.nodes);
        self.matrix[from.index() * self.nodes + to.index()]
    }
}

/// Returns for each node the nodes with memory, in the order in which its requests try them
/// (`build_all_zonelists`, `find_next_best_node`, 6.x).
///
/// The node itself comes first, if it has memory. Then, again and again, the node with the smallest distance; of several at
/// one distance a higher number and a node without CPUs come first in a small way, and those that were chosen for other
/// nodes before come later: so the nodes of one distance take turns in being the first to be turned to.
pub fn node_orders(distances: &Distances, with_memory: NodeMask, with_cpus: NodeMask) -> Vec<Vec<Nid>> {
    let mut load = [0_u64; NODES_MAX];
    let all = || (0..distances.nodes()).map(Nid::new);
    all()
        .map(|local| {
            let mut left = with_memory;
            let mut order = Vec::new();
            let mut previous = local;
            while let Some(next) = find_next_best_node(distances, local, left, with_cpus, &load) {
                if distances.get(local, next) != distances.get(local, previous) {
                    load[next.index()] += 1;
                }
                left = left.and(NodeMask::from_bits(!NodeMask::of(next).bits()));
                order.push(next);
                previous = next;
            }
            order
        })
        .collect()
}

fn find_next_best_node(
    distances: &Distances,
    local: Nid,
    left: NodeMask,
    with_cpus: NodeMask,
    load: &[u64; NODES_MAX],
) -> Option<Nid> {
    if left.contains(local) {
        return Some(local);
    }
    let known = left.iter().take_while(|node| node.index() < distances.nodes());
    known.min_by_key(|&node| {
        let below = u64::from(node < local);
        let penalty = if with_cpus.contains(node) { PENALTY_FOR_NODE_WITH_CPUS } else { 0 };
        let distance = u64::from(distances.get(local, node)) + below + penalty;
        distance * NODES_MAX as u64 + load[node.index()]
    })
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(orders: &[Vec<Nid>]) -> Vec<Vec<usize>> {
        orders.iter().map(|order| order.iter().map(|node| node.index()).collect()).collect()
    }

    fn all(nodes: usize) -> NodeMask {
        (0..nodes).map(Nid::new).collect()
    }

    #[test]
    fn four_sockets_in_a_ring_turn_to_their_neighbours_first() {
        let ring = Distances::collect(4, |from, to| [10, 21, 31, 21][(to.index() + 4 - from.index()) % 4]);
        let orders = node_orders(&ring, all(4), all(4));
        assert_eq!(numbers(&orders), [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]);
    }

    #[test]
    fn nodes_of_one_distance_take_turns() {
        let flat = Distances::collect(4, |from, to| if from == to { 10 } else { 20 });
        let firsts: Vec<_> =
            numbers(&node_orders(&flat, all(4), all(4))).iter().map(|order| order[1]).collect();
        assert_eq!(firsts, [1, 2, 3, 0]);
    }

    #[test]
    fn a_node_without_memory_begins_at_the_nearest_and_one_without_cpus_comes_before_its_like() {
        let flat = Distances::collect(3, |from, to| if from == to { 10 } else { 20 });
        let memory: NodeMask = [Nid::new(1), Nid::new(2)].into_iter().collect();
        let cpus: NodeMask = [Nid::new(0), Nid::new(1)].into_iter().collect();
        assert_eq!(numbers(&node_orders(&flat, memory, cpus)), [vec![2, 1], vec![1, 2], vec![2, 1]]);
    }

    #[test]
    fn a_node_that_has_no_distance_is_not_turned_to() {
        let flat = Distances::collect(2, |from, to| if from == to { 10 } else { 20 });
        assert_eq!(numbers(&node_orders(&flat, all(4), all(4))), [[0, 1], [1, 0]]);
    }

    /// The rule once more, as the specification words it: candidates are compared one by one.
    fn by_the_rule(matrix: &[Vec<u32>], memory: &[bool], cpus: &[bool]) -> Vec<Vec<usize>> {
        let nodes = matrix.len();
        let mut node_load = vec![0_u64; nodes];
        let mut lists = Vec::new();
        for (local, row) in matrix.iter().enumerate() {
            let (mut used, mut list, mut prev) = (vec![false; nodes], Vec::new(), local);
            loop {
                let mut best: Option<(u64, usize)> = None;
                for n in 0..nodes {
                    if used[n] || !memory[n] {
                        continue;
                    }
                    let mut val = u64::from(row[n]);
                    val += u64::from(n < local);
                    val += u64::from(cpus[n]);
                    val = val * 64 + node_load[n];
                    let local_first = n == local;
                    if local_first || best.is_none_or(|(least, node)| node != local && val < least) {
                        best = Some((val, n));
                    }
                }
                let Some((_, node)) = best else { break };
                if row[node] != row[prev] {
                    node_load[node] += 1;
                }
                used[node] = true;
                list.push(node);
                prev = node;
            }
            lists.push(list);
        }
        lists
    }

    proptest! {
        #[test]
        fn any_machine_is_ordered_by_the_rule(
            nodes in 1usize..=8, entries in prop::collection::vec(10u32..60, 64),
            memory in prop::collection::vec(any::<bool>(), 8), cpus in prop::collection::vec(any::<bool>(), 8),
        ) {
            let matrix: Vec<Vec<u32>> = (0..nodes)
                .map(|from| (0..nodes).map(|to| if from == to { 10 } else { entries[from * 8 + to] }).collect())
                .collect();
            let distances = Distances::collect(nodes, |from, to| matrix[from.index()][to.index()]);
            let mask = |flags: &[bool]| (0..nodes).filter(|&node| flags[node]).map(Nid::new).collect::<NodeMask>();
            let orders = node_orders(&distances, mask(&memory), mask(&cpus));
            prop_assert_eq!(numbers(&orders), by_the_rule(&matrix, &memory, &cpus));
        }
    }
}
