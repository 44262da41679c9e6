//! Memory policies: from which nodes a thread's requests are served (`mempolicy`).

use core::fmt;

use super::{Distances, NodeMask};
use crate::frame::{NODES_MAX, Nid};

/// From which nodes requests are served (`set_mempolicy(2)`).
///
/// ```
/// use gfp::{MemPolicy, Nid, NodeMask};
///
/// assert_eq!(MemPolicy::Preferred(Nid::new(3)).nodes(), NodeMask::of(Nid::new(3)));
/// assert_eq!(MemPolicy::Local.nodes(), NodeMask::ALL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "mempolicy")]
pub enum MemPolicy {
    /// From the node of the CPU, then from others by distance (`MPOL_LOCAL`).
    Local,
    /// From this node, then from others by distance (`MPOL_PREFERRED`).
    Preferred(Nid),
    /// From the nearest of these nodes that has memory, then from others (`MPOL_PREFERRED_MANY`, 5.15).
    PreferredMany(NodeMask),
    /// From these nodes and no other (`MPOL_BIND`).
    Bind(NodeMask),
    /// From these nodes in turn, a request each (`MPOL_INTERLEAVE`).
    Interleave(NodeMask),
    /// From nodes in turn, as many requests each as its weight says (`MPOL_WEIGHTED_INTERLEAVE`, 6.9); 0 leaves a node out.
    WeightedInterleave([u8; NODES_MAX]),
}

/// A policy that names no node with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPolicy {
    /// The nodes that it names.
    pub named: NodeMask,
    /// The nodes that have memory.
    pub with_memory: NodeMask,
}

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { named, with_memory } = self;
        if named.is_empty() {
            return f.write_str("a memory policy must name a node");
        }
        write!(f, "none of the nodes {named} has memory; those that have are {with_memory}")
    }
}

impl std::error::Error for BadPolicy {}

impl MemPolicy {
    /// Returns the nodes that the policy names; all for a policy that names none.
    pub fn nodes(&self) -> NodeMask {
        match self {
            Self::Local => NodeMask::ALL,
            Self::Preferred(node) => NodeMask::of(*node),
            Self::PreferredMany(mask) | Self::Bind(mask) | Self::Interleave(mask) => *mask,
            Self::WeightedInterleave(weights) => {
                (0..NODES_MAX).filter(|&node| weights[node] > 0).map(Nid::new).collect()
            }
        }
    }
}

/// Where one request goes first, and where it may go.
///
/// ```
/// use gfp::{Nid, NodeMask, node::Target};
///
/// let anywhere = Target::node(Nid::new(1));
/// let bound = Target::within(Nid::new(1), NodeMask::of(Nid::new(0)));
/// assert_eq!((anywhere.node, anywhere.allowed), (bound.node, NodeMask::ALL));
/// assert!(!bound.allowed.contains(bound.node), "the order is node 1's, the memory node 0's");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node whose zonelist it walks.
    pub node: Nid,
    /// The nodes that may serve it.
    pub allowed: NodeMask,
    /// The nodes that are asked before all allowed ones are.
    pub first: NodeMask,
    /// Whether the node was chosen by turns (`numa_interleave`).
    pub in_turn: bool,
}

impl Target {
    /// A request that any node may serve, beginning at one.
    pub const fn node(node: Nid) -> Self {
        Self { node, allowed: NodeMask::ALL, first: NodeMask::ALL, in_turn: false }
    }

    /// A request that some nodes may serve, in the order of one.
    pub const fn within(node: Nid, allowed: NodeMask) -> Self {
        Self { node, allowed, first: allowed, in_turn: false }
    }
}

/// A policy in force, with whose turn it is.
///
/// ```
/// use gfp::{MemPolicy, Nid, NodeMask, PolicyState, node::Distances};
///
/// let (here, bound) = (Nid::new(0), NodeMask::of(Nid::new(1)));
/// let with_memory = NodeMask::from_bits(0b11);
/// let mut state = PolicyState::new(MemPolicy::Bind(bound), with_memory)?;
/// let flat = Distances::collect(2, |_, _| 10);
/// assert_eq!(state.target(here, with_memory, &flat).allowed, bound);
/// assert_eq!(state.policy(), &MemPolicy::Bind(bound));
/// assert!(PolicyState::new(MemPolicy::Bind(NodeMask::EMPTY), with_memory).is_err());
/// # Ok::<(), gfp::node::BadPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyState {
    policy: MemPolicy,
    /// The node whose turn it was last.
    last: Option<Nid>,
    /// How many more requests it gets.
    left: u8,
}

impl PolicyState {
    /// Puts a policy into force.
    ///
    /// # Errors
    /// When none of the nodes that it names has memory.
    pub fn new(policy: MemPolicy, with_memory: NodeMask) -> Result<Self, BadPolicy> {
        let named = policy.nodes();
        if named.and(with_memory).is_empty() {
            return Err(BadPolicy { named, with_memory });
        }
        Ok(Self { policy, last: None, left: 0 })
    }

    /// Returns the policy.
    pub const fn policy(&self) -> &MemPolicy {
        &self.policy
    }

    /// Says where the next request goes, for a thread on the node `local`.
    pub fn target(&mut self, local: Nid, with_memory: NodeMask, distances: &Distances) -> Target {
        match self.policy {
            MemPolicy::Local => Target::node(local),
            MemPolicy::Preferred(node) => Target::node(node),
            MemPolicy::PreferredMany(mask) => {
                let nearest = nearest(local, mask.and(with_memory), distances);
                Target { first: mask, ..Target::node(nearest) }
            }
            MemPolicy::Bind(mask) => Target::within(local, mask),
            MemPolicy::Interleave(mask) => {
                let node = next_in_turn(self.last, mask.and(with_memory)).unwrap_or(local);
                self.last = Some(node);
                Target { in_turn: true, ..Target::node(node) }
            }
            MemPolicy::WeightedInterleave(weights) => {
                if self.left == 0 {
                    let node = next_in_turn(self.last, self.policy.nodes().and(with_memory)).unwrap_or(local);
                    self.last = Some(node);
                    self.left = weights[node.index()];
                }
                self.left = self.left.saturating_sub(1);
                Target { in_turn: true, ..Target::node(self.last.unwrap_or(local)) }
            }
        }
    }
}

/// Returns the node of the set behind `last`, round and round.
fn next_in_turn(last: Option<Nid>, nodes: NodeMask) -> Option<Nid> {
    let behind = nodes.iter().find(|&node| last.is_none_or(|last| node > last));
    behind.or_else(|| nodes.iter().next())
}

fn nearest(local: Nid, nodes: NodeMask, distances: &Distances) -> Nid {
    let known = nodes.iter().take_while(|node| node.index() < distances.nodes());
    known.min_by_key(|&node| distances.get(local, node)).unwrap_or(local)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const NODES: usize = 4;

    fn ring() -> Distances {
        Distances::collect(NODES, |from, to| [10, 21, 31, 21][(to.index() + NODES - from.index()) % NODES])
    }

    fn all() -> NodeMask {
        (0..NODES).map(Nid::new).collect()
    }

    fn mask(nodes: &[usize]) -> NodeMask {
        nodes.iter().map(|&node| Nid::new(node)).collect()
    }

    fn targets(policy: MemPolicy, count: usize) -> Vec<Target> {
        let mut state = PolicyState::new(policy, all()).expect("it names nodes");
        (0..count).map(|_| state.target(Nid::new(1), all(), &ring())).collect()
    }

    fn nodes(policy: MemPolicy, count: usize) -> Vec<usize> {
        targets(policy, count).iter().map(|target| target.node.index()).collect()
    }

    #[test]
    fn each_policy_has_its_node_and_its_bounds() {
        let first = |policy| targets(policy, 1)[0];
        assert_eq!(first(MemPolicy::Local), Target::node(Nid::new(1)));
        assert_eq!(first(MemPolicy::Preferred(Nid::new(3))), Target::node(Nid::new(3)));
        let many = first(MemPolicy::PreferredMany(mask(&[3, 2])));
        assert_eq!((many.node, many.first, many.allowed), (Nid::new(2), mask(&[2, 3]), NodeMask::ALL));
        let bound = first(MemPolicy::Bind(mask(&[0, 3])));
        assert_eq!((bound.node, bound.first, bound.allowed), (Nid::new(1), mask(&[0, 3]), mask(&[0, 3])));
    }

    #[test]
    fn turns_go_round_and_weights_repeat_them() {
        assert_eq!(nodes(MemPolicy::Interleave(mask(&[0, 2, 3])), 7), [0, 2, 3, 0, 2, 3, 0]);
        let mut weights = [0; NODES_MAX];
        (weights[0], weights[3]) = (3, 1);
        assert_eq!(nodes(MemPolicy::WeightedInterleave(weights), 9), [0, 0, 0, 3, 0, 0, 0, 3, 0]);
        for policy in [MemPolicy::Interleave(mask(&[0, 2])), MemPolicy::WeightedInterleave(weights)] {
            let by_turns = |target: &Target| target.in_turn && target.allowed == NodeMask::ALL;
            assert!(
                targets(policy, 5).iter().all(by_turns),
                "the statistics count them, and any node may help"
            );
        }
    }

    #[test]
    fn a_node_that_has_no_distance_is_not_the_nearest() {
        let mut state =
            PolicyState::new(MemPolicy::PreferredMany(mask(&[NODES])), NodeMask::ALL).expect("named");
        assert_eq!(state.target(Nid::new(1), NodeMask::ALL, &ring()).node, Nid::new(1));
    }

    #[test]
    fn a_policy_must_name_a_node_that_has_memory() {
        let refused = PolicyState::new(MemPolicy::Bind(mask(&[5, 6])), all()).expect_err("no memory there");
        assert_eq!(refused.to_string(), "none of the nodes 5-6 has memory; those that have are 0-3");
        let refused = PolicyState::new(MemPolicy::Interleave(NodeMask::EMPTY), all()).expect_err("no node");
        assert_eq!(refused.to_string(), "a memory policy must name a node");
    }
}
