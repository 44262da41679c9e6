//! Remote: blocks are allocated on one NUMA node and freed on another.
//!
//! The threads are those of [`handoff`](super::handoff), in pairs: one allocates, the other one frees, 64 blocks handed over at a
//! time. Here the two of a pair run on CPUs of different nodes, so that every block, and what the allocator notes of it, crosses
//! between them. On a machine of one node the pairs are those of handoff; such a figure is called simulated.

/// Deals CPUs out to pairs of threads: the CPUs at 2·i and 2·i + 1 of what is returned are of different nodes, and each CPU is there
/// once at the most. `None` when all are of one node, or the nodes are not known.
///
/// Nodes with many CPUs left give first, so that as many pairs as possible come about; within a node the order stays as it is.
pub(crate) fn pairs<C: Copy>(cpus: &[C], node_of: impl Fn(C) -> Option<u32>) -> Option<Vec<C>> {
    let mut nodes: Vec<(u32, Vec<C>)> = Vec::new();
    // The last one of each list is taken first.
    for &cpu in cpus.iter().rev() {
        let node = node_of(cpu)?;
        match nodes.iter_mut().find(|(number, _)| *number == node) {
            Some((_, of_node)) => of_node.push(cpu),
            None => nodes.push((node, vec![cpu])),
        }
    }
    let mut paired = Vec::new();
    loop {
        // Stable: of equally many the node that comes first in the order of CPUs, which is the last one here.
        nodes.sort_by_key(|(_, of_node)| of_node.len());
        let [.., (_, second), (_, first)] = &mut nodes[..] else { break };
        let (Some(from), Some(to)) = (first.last().copied(), second.last().copied()) else { break };
        first.pop();
        second.pop();
        paired.extend([from, to]);
    }
    (!paired.is_empty()).then_some(paired)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_of_four(cpu: u32) -> Option<u32> {
        Some(cpu / 4)
    }

    #[test]
    fn the_two_of_a_pair_are_on_different_nodes_and_no_cpu_is_used_twice() {
        for cpus in [8, 12, 16, 10, 9, 5] {
            let cpus: Vec<u32> = (0..cpus).collect();
            let mut paired = pairs(&cpus, node_of_four).unwrap();
            assert!(
                paired.chunks(2).all(|pair| node_of_four(pair[0]) != node_of_four(pair[1])),
                "{paired:?}"
            );
            let all = paired.len();
            paired.sort_unstable();
            paired.dedup();
            assert_eq!(paired.len(), all);
            // As many as there can be: a node of four cannot be paired with itself.
            assert_eq!(all / 2, (cpus.len() / 2).min(cpus.len() - 4), "{cpus:?}");
        }
    }

    #[test]
    fn one_node_or_an_unknown_one_has_no_pairs() {
        assert_eq!(pairs(&[0, 1, 2, 3], node_of_four), None);
        assert_eq!(pairs(&[0, 1], |_| None), None);
    }
}
