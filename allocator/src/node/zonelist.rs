//! The order in which a request tries zones.

use super::{Distances, NodeMask, node_orders};
use crate::{
    frame::{Nid, ZoneNumber},
    gfp::{NR_ZONE_TYPES, ZoneType},
    zone::ZoneSpan,
};

/// A zone as a zonelist names it (`struct zoneref`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "zoneref")]
pub struct ZoneRef {
    /// The zone.
    pub number: ZoneNumber,
    /// Its type.
    pub kind: ZoneType,
    /// Its node.
    pub node: Nid,
}

/// Returns of zones in the order of a zonelist, which goes node by node, the first of each node.
#[cfg(not(loom))]
pub(crate) fn first_of_each_node(zones: impl Iterator<Item = ZoneRef>) -> impl Iterator<Item = ZoneRef> {
    let mut last = None;
    zones.filter(move |zone| last.replace(zone.node) != Some(zone.node))
}

/// Zones in the order in which requests of a node try them (`struct zonelist`).
///
/// ```
/// use gfp::{Nid, Pfn, frame::ZoneNumber, gfp::ZoneType, node::Zonelist, zone::ZoneSpan};
///
/// let zone = |kind, node, start, end| {
///     let (number, node) = (ZoneNumber::new(node), Nid::new(node));
///     ZoneSpan { kind, node, number, start: Pfn::new(start), end: Pfn::new(end), online_end: Pfn::new(end) }
/// };
/// let spans = [zone(ZoneType::Dma32, 0, 0, 4096), zone(ZoneType::Normal, 1, 4096, 8192)];
/// let list = Zonelist::new(&spans, &[Nid::new(1), Nid::new(0)]);
/// assert!(list.is_populated(ZoneType::Dma32) && !list.is_populated(ZoneType::Dma));
/// let first = list.preferred();
/// assert_eq!(first[ZoneType::Normal.index()], Some(ZoneNumber::new(1)));
/// assert_eq!(first[ZoneType::Dma32.index()], Some(ZoneNumber::new(0)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zonelist {
    zones: Box<[ZoneRef]>,
}

impl Zonelist {
    /// Puts the zones of nodes behind each other: node by node, and within a node from the highest type down: MOVABLE, HIGHMEM,
    /// NORMAL, DMA32, DMA.
    pub fn new(spans: &[ZoneSpan], nodes: &[Nid]) -> Self {
        let zones_of = |&node: &Nid| {
            let here = spans.iter().filter(move |span| span.node == node);
            let mut zones: Vec<_> =
                here.map(|span| ZoneRef { number: span.number, kind: span.kind, node }).collect();
            zones.sort_by_key(|zone| core::cmp::Reverse(zone.kind));
            zones
        };
        Self { zones: nodes.iter().flat_map(zones_of).collect() }
    }

    /// Returns the zones that a request may use, in order (`for_each_zone_zonelist_nodemask`).
    ///
    /// MOVABLE zones are left out: they hold only blocks behind movable handles, and a request for a plain block has none.
    #[doc(alias = "for_next_zone_zonelist_nodemask")]
    #[doc(alias = "for_each_zone_zonelist_nodemask")]
    pub fn zones(&self, highest: ZoneType, allowed: NodeMask) -> impl Iterator<Item = ZoneRef> + '_ {
        self.zones.iter().copied().filter(move |zone| {
            zone.kind <= highest && zone.kind != ZoneType::Movable && allowed.contains(zone.node)
        })
    }

    /// Returns, for each highest zone, the zone to try first (`first_zones_zonelist`).
    #[doc(alias = "first_zones_zonelist")]
    pub fn preferred(&self) -> [Option<ZoneNumber>; NR_ZONE_TYPES] {
        ZoneType::ALL.map(|highest| self.zones(highest, NodeMask::ALL).next().map(|zone| zone.number))
    }

    /// Tells whether a zone of this type has memory.
    pub fn is_populated(&self, kind: ZoneType) -> bool {
        self.zones.iter().any(|zone| zone.kind == kind)
    }
}

/// The two zonelists of a node (`node_zonelists`).
#[derive(Clone, Debug)]
struct NodeLists {
    /// All nodes, nearest first (`ZONELIST_FALLBACK`).
    fallback: Zonelist,
    /// The node's own zones (`ZONELIST_NOFALLBACK`).
    this_node: Zonelist,
}

/// Which nodes a request may turn to when its own has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any (`ZONELIST_FALLBACK`).
    AllNodes,
    /// None (`__GFP_THISNODE`, `ZONELIST_NOFALLBACK`).
    ThisNode,
}

/// The zonelists of all nodes.
#[derive(Clone, Debug)]
pub struct Zonelists {
    nodes: Box<[NodeLists]>,
    distances: Distances,
    with_memory: NodeMask,
}

impl Zonelists {
    /// Orders the zones of each node (`build_all_zonelists`). There must be a distance for each node that a span names.
    #[doc(alias = "build_all_zonelists")]
    pub fn build(spans: &[ZoneSpan], distances: Distances, with_cpus: NodeMask) -> Self {
        let with_memory = spans.iter().map(|span| span.node).collect();
        let orders = node_orders(&distances, with_memory, with_cpus);
        let lists = orders.iter().enumerate().map(|(node, order)| NodeLists {
            fallback: Zonelist::new(spans, order),
            this_node: Zonelist::new(spans, &[Nid::new(node)]),
        });
        Self { nodes: lists.collect(), distances, with_memory }
    }

    /// Returns the order in which requests of a node try zones (`node_zonelist`).
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node_zonelist(&self, node: Nid, reach: Reach) -> &Zonelist {
        let lists = &self.nodes[node.index()];
        match reach {
            Reach::AllNodes => &lists.fallback,
            Reach::ThisNode => &lists.this_node,
        }
    }

    /// Returns the number of nodes, those without memory included.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the nodes that have memory.
    pub const fn with_memory(&self) -> NodeMask {
        self.with_memory
    }

    /// Returns how far the nodes are from each other.
    pub const fn distances(&self) -> &Distances {
        &self.distances
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::node::{NodeFrames, ZonePlan, zone_spans};

    fn lists(frames: &[u64], highmem: u64, movable: u64) -> Zonelists {
        let nodes =
            frames.iter().enumerate().map(|(node, &frames)| NodeFrames { node: Nid::new(node), frames });
        let plan = ZonePlan {
            nodes: nodes.collect(),
            dma_frames: 4096,
            highmem_frames: highmem,
            movable_frames: movable,
            online_frames: u64::MAX,
        };
        let flat = Distances::collect(frames.len(), |from, to| if from == to { 10 } else { 20 });
        let cpus = (0..frames.len()).map(Nid::new).collect();
        Zonelists::build(&zone_spans(&plan).expect("fits"), flat, cpus)
    }

    #[test]
    fn a_request_starts_at_its_highest_zone_and_goes_down() {
        let lists = lists(&[4 << 20], 1024, 2048);
        let list = lists.node_zonelist(Nid::new(0), Reach::AllNodes);
        let kinds = |highest| list.zones(highest, NodeMask::ALL).map(|zone| zone.kind).collect::<Vec<_>>();
        use ZoneType::{Dma, Dma32, HighMem, Movable, Normal};
        assert_eq!(kinds(Movable), [HighMem, Normal, Dma32, Dma]);
        assert_eq!(kinds(Normal), [Normal, Dma32, Dma]);
        assert_eq!(kinds(Dma32), [Dma32, Dma]);
        assert_eq!(kinds(Dma), [Dma]);
        assert_eq!(list.preferred()[Movable.index()], list.preferred()[HighMem.index()]);
        // Zones have their numbers in the order of their addresses.
        assert_eq!(list.preferred(), [0, 1, 2, 3, 3].map(|number| Some(ZoneNumber::new(number))));
    }

    #[test]
    fn a_zone_that_is_not_configured_falls_to_the_next_lower_one() {
        let lists = lists(&[1 << 16], 0, 0);
        let list = lists.node_zonelist(Nid::new(0), Reach::AllNodes);
        let first = list.zones(ZoneType::Movable, NodeMask::ALL).next().expect("there is memory");
        assert_eq!(first.kind, ZoneType::Dma32);
        assert!(!list.is_populated(ZoneType::Normal));
        assert_eq!(list.preferred(), [0, 1, 1, 1, 1].map(|number| Some(ZoneNumber::new(number))));
    }

    #[test]
    fn a_list_is_node_by_node_and_obeys_mask_and_reach() {
        use ZoneType::{Dma, Dma32, Normal};
        let lists = lists(&[1 << 20, 1 << 20, 1 << 20], 0, 0);
        let zones = |node, reach, mask| {
            let list = lists.node_zonelist(Nid::new(node), reach);
            list.zones(Normal, mask).map(|zone| (zone.node.index(), zone.kind)).collect::<Vec<_>>()
        };
        let all = NodeMask::ALL;
        assert_eq!(zones(1, Reach::AllNodes, all), [(1, Normal), (2, Normal), (0, Dma32), (0, Dma)]);
        assert_eq!(zones(1, Reach::ThisNode, all), [(1, Normal)]);
        assert_eq!(zones(2, Reach::AllNodes, NodeMask::of(Nid::new(0))), [(0, Dma32), (0, Dma)]);
        assert_eq!(zones(2, Reach::ThisNode, NodeMask::of(Nid::new(0))), []);
    }
}
