//! Requests for pages that will be written to are spread over nodes, so that no node fills up with what must be flushed first.

use super::Domain;
use crate::{
    frame::Nid,
    gfp::ZoneType,
    node::{NodeCounters, NodeStatItem},
    zone::sizing::total_reserve,
};

impl Domain {
    /// Returns what is counted of each node by those who use its frames.
    pub(crate) const fn node_counters(&self) -> &NodeCounters {
        &self.node_counters
    }

    /// Returns the frames of a node that could be dirty: what is free and not kept in reserve, and the pages of files
    /// (`node_dirtyable_memory`).
    fn node_dirtyable_memory(&self, node: Nid) -> u64 {
        let (free, reserve) = self.zones_of(node, ZoneType::Movable).fold((0, 0), |(free, reserve), zone| {
            let marks = zone.watermarks();
            let kept = total_reserve(zone.managed(), &zone.lowmem_reserve(), &marks);
            (free + zone.nr_free_pages(), reserve + kept)
        });
        let of = |item| self.node_counters.get(node, item);
        free.saturating_sub(reserve) + of(NodeStatItem::ActiveFile) + of(NodeStatItem::InactiveFile)
    }

    /// Returns the frames of all nodes that could be dirty (`global_dirtyable_memory`).
    fn global_dirtyable_memory(&self) -> u64 {
        (0..self.zonelists().nodes()).map(|node| self.node_dirtyable_memory(Nid::new(node))).sum()
    }

    /// Returns the frames that may be dirty (`nr_dirty_threshold`).
    pub(crate) fn dirty_threshold(&self) -> u64 {
        self.dirty_limit.of_all(self.global_dirtyable_memory())
    }

    /// Tells whether a node has no more pages that are dirty, or are being flushed, than it may have (`node_dirty_ok`).
    #[cold]
    pub(crate) fn node_dirty_ok(&self, node: Nid) -> bool {
        let of = |item| self.node_counters.get(node, item);
        let now = of(NodeStatItem::FileDirty) + of(NodeStatItem::Writeback);
        let limit = || {
            let all = || self.global_dirtyable_memory();
            self.dirty_limit.of_node(self.node_dirtyable_memory(node), all)
        };
        now == 0 || now <= limit()
    }
}

/// One scan's answers of [`node_dirty_ok`](Domain::node_dirty_ok): each node is asked once, as zones of a node follow each other.
#[derive(Debug, Default)]
pub(super) struct DirtyNodes(Option<(Nid, bool)>);

impl DirtyNodes {
    /// Tells whether a node is over its limit.
    pub(super) fn is_over(&mut self, domain: &Domain, node: Nid) -> bool {
        match self.0 {
            Some((asked, over)) if asked == node => over,
            _ => {
                let over = !domain.node_dirty_ok(node);
                self.0 = Some((node, over));
                over
            }
        }
    }
}
