//! What callers say of a node's frames, and nodes that have too many dirty ones.

use gfp::{
    Nid,
    node::{NodeStatError, NodeStatItem},
};

use super::{Machine, snapshot::Snapshot};
use crate::{
    call::{Amount, Counted},
    shapes::NODES,
};

impl Counted {
    const fn item(self) -> NodeStatItem {
        match self {
            Self::ActiveFile => NodeStatItem::ActiveFile,
            Self::InactiveFile => NodeStatItem::InactiveFile,
            Self::Dirty => NodeStatItem::FileDirty,
            Self::Writeback => NodeStatItem::Writeback,
        }
    }
}

impl Machine {
    pub(super) fn dirty(&mut self, node: usize, counted: Counted, amount: Amount) {
        let delta = match amount {
            Amount::Frames(frames) => frames,
            Amount::ToLimit(_) if node >= NODES => 0,
            Amount::ToLimit(more) => {
                let limit = self.model.dirty_limit(node, Snapshot::of(&self.allocator).zones());
                let wanted = limit.cast_signed() + i64::from(more);
                wanted - self.model.dirty_frames(node).cast_signed()
            }
        };
        let item = counted.item();
        let result = self.allocator.mod_node_page_state(Nid::new(node), item, delta);
        let branch = match self.model.count(node, counted, delta) {
            Some(Ok(())) => {
                assert_eq!(result, Ok(()));
                "counted"
            }
            Some(Err(count)) => {
                let node = Nid::new(node);
                assert_eq!(result, Err(NodeStatError::OutOfRange { node, item, count, delta }));
                "out of range"
            }
            None => {
                let node = Nid::new(node);
                assert_eq!(result, Err(NodeStatError::NoNode { node }));
                assert_eq!(self.allocator.node_dirty_ok(node), Err(NodeStatError::NoNode { node }));
                "no node"
            }
        };
        self.coverage.count("dirty", branch);
        self.check_dirty();
    }

    /// Checks the counts, and which nodes are over their limit.
    pub(super) fn check_dirty(&self) {
        let snapshot = Snapshot::of(&self.allocator);
        for node in 0..NODES {
            let is_over = self.model.is_over(node, snapshot.zones());
            assert_eq!(self.allocator.node_dirty_ok(Nid::new(node)), Ok(!is_over), "node {node}");
        }
        let vmstat = self.allocator.vmstat();
        let sum = |counted| self.model.counted(counted);
        let said = [vmstat.nr_active_file, vmstat.nr_inactive_file, vmstat.nr_dirty, vmstat.nr_writeback];
        assert_eq!(said, Counted::ALL.map(sum));
        assert_eq!(vmstat.nr_dirty_threshold, self.model.dirty_threshold(snapshot.zones()));
    }
}
