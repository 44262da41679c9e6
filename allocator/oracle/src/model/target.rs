//! Where a request goes first, and in which order it asks zones.

use gfp::{Gfp, gfp::Scopes, gfp::ZoneType};

use super::{ALL_NODES, Model};
use crate::{
    call::{Mask, Policy},
    shapes::NODES,
};

/// The nodes in the order in which requests of each try them: all are equally far, and take turns in coming second.
const ORDERS: [[usize; NODES]; NODES] = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];

/// Where one request goes; nodes are bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    node: usize,
    /// The nodes that are asked before all allowed ones are.
    first: u8,
    allowed: u8,
}

impl Target {
    /// A request that begins at a node.
    pub(crate) const fn node(node: usize) -> Self {
        Self::within(node, ALL_NODES)
    }

    /// A request that some nodes may serve, in the order of one.
    pub(crate) const fn within(node: usize, allowed: u8) -> Self {
        Self { node, first: allowed, allowed }
    }
}

/// A policy, and whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyModel {
    pub(crate) policy: Policy,
    last: Option<usize>,
    left: u8,
}

impl Default for PolicyModel {
    fn default() -> Self {
        Self::new(Policy::Default)
    }
}

impl PolicyModel {
    pub(crate) const fn new(policy: Policy) -> Self {
        Self { policy, last: None, left: 0 }
    }

    /// Says where the next request of a thread on the node `local` goes.
    pub(crate) fn next(&mut self, local: usize) -> Target {
        match self.policy {
            Policy::Default | Policy::Local => Target::node(local),
            Policy::Preferred(node) => Target::node(node),
            Policy::PreferredMany(bits) if bits >> local & 1 == 1 => {
                Target { first: bits, ..Target::node(local) }
            }
            Policy::PreferredMany(bits) => {
                Target { first: bits, ..Target::node(bits.trailing_zeros() as usize) }
            }
            Policy::Bind(bits) => Target::within(local, bits),
            Policy::Interleave(bits) => {
                self.last = Some(self.behind(bits));
                Target::node(self.last.unwrap_or(local))
            }
            Policy::Weighted(weights) => {
                if self.left == 0 {
                    let bits = (0..NODES).filter(|&node| weights[node] > 0).map(|node| 1 << node).sum();
                    let node = self.behind(bits);
                    (self.last, self.left) = (Some(node), weights[node]);
                }
                self.left -= 1;
                Target::node(self.last.unwrap_or(local))
            }
        }
    }

    /// Returns the node behind the one whose turn it was last, round and round.
    fn behind(&self, bits: u8) -> usize {
        let from = self.last.map_or(0, |last| last + 1);
        (from..from + NODES)
            .map(|node| node % NODES)
            .find(|node| bits >> node & 1 == 1)
            .expect("some bit is set")
    }
}

/// Why no zone is asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Senseless,
    NoZone,
    NoNode,
}

/// Where a request may be served from: indices of zones.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    /// All that the request looks at.
    pub(crate) listed: Vec<usize>,
    /// Those that may serve it in the order in which they are asked at the low mark; behind them those which only a request that
    /// leaves the allowed nodes asks, when none of the others had anything.
    pub(crate) asked: Vec<usize>,
    /// How many of those the attempt at the low mark asks: the ones on allowed nodes.
    pub(crate) at_low: usize,
    /// Whether it insists on nodes of which the allowed ones have no zone, and so ends at once.
    pub(crate) in_vain: bool,
    /// Whether another zone of the first one's node may be asked before types are mixed in the first.
    pub(crate) nofragment: bool,
}

impl Model {
    /// Returns the zones of a node's list that are of these nodes, in its order.
    fn list(&self, node: usize, nodes: u8, gfp: Gfp) -> Vec<usize> {
        let highest = Mask(gfp).highest_zone();
        let order = if gfp.contains(Gfp::THISNODE) { &ORDERS[node][..1] } else { &ORDERS[node][..] };
        let mut list = Vec::new();
        for &node in order.iter().filter(|&&node| nodes >> node & 1 == 1) {
            // From the highest down; MOVABLE zones serve nobody who has pointers.
            let here = self.zones.iter().enumerate().rev().filter(|(_, zone)| {
                zone.node == node && zone.kind <= highest && zone.kind != ZoneType::Movable
            });
            list.extend(here.map(|(index, _)| index));
        }
        list
    }

    /// Returns the zones that a request may be served from; one that is `stopped` ends before it leaves the nodes that it names.
    ///
    /// # Errors
    /// Why none is asked.
    pub(crate) fn candidates(
        &self,
        target: Option<Target>,
        gfp: Gfp,
        order: u8,
        scopes: Scopes,
        stopped: bool,
    ) -> Result<Candidates, Refused> {
        let target = target.ok_or(Refused::NoNode)?;
        if Mask(gfp).is_senseless() || order > 10 {
            return Err(Refused::Senseless);
        }
        let listed = self.list(target.node, target.allowed, gfp);
        let Some(&first) = listed.first() else { return Err(Refused::NoZone) };
        let among = |zone: &usize, nodes: u8| nodes >> self.zones[*zone].node & 1 == 1;
        // One walk after the other: the nodes of which memory is being reclaimed come last in each.
        let (calm, allowed) = (!self.reclaiming, self.mems_allowed);
        let walks = [target.first & calm & allowed, target.first & allowed, calm & allowed, allowed];
        let in_vain = gfp.contains(Gfp::HARDWALL) && self.list(target.node, allowed, gfp).is_empty();
        let leaves = Mask(gfp).leaves_nodes(scopes) && !in_vain;
        let ask = |asked: &mut Vec<usize>, list: &[usize], walk: u8| {
            let more = list.iter().copied().filter(|zone| among(zone, walk));
            let more: Vec<_> = more.filter(|zone| !asked.contains(zone)).collect();
            asked.extend(more);
        };
        let mut asked = Vec::new();
        walks.into_iter().for_each(|walk| ask(&mut asked, &listed, walk));
        let at_low = asked.len();
        let anywhere = [calm, ALL_NODES];
        if leaves && Mask(gfp).is_urgent() {
            // It forgets the allowed nodes first, and then those that it names.
            anywhere.into_iter().for_each(|walk| ask(&mut asked, &listed, walk));
        }
        let lifts = leaves && !stopped;
        let listed = if lifts { self.list(target.node, ALL_NODES, gfp) } else { listed };
        anywhere.into_iter().filter(|_| lifts).for_each(|walk| ask(&mut asked, &listed, walk));
        let nofragment = self.zones[first].kind == ZoneType::Normal;
        Ok(Candidates { listed, asked, at_low, in_vain, nofragment })
    }
}
