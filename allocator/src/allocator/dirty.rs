//! Dirty pages: what callers say of them, and how many there may be.

use super::{Allocator, Builder};
use crate::{
    frame::Nid,
    node::{DirtyLimit, NodeStatError, NodeStatItem},
};

impl Allocator {
    /// Counts `delta` frames more of a node, or less, as what `item` says (`mod_node_page_state`).
    ///
    /// Whoever has pages that must be flushed before their frames are of use to others says so here; requests with
    /// [`Gfp::WRITE`](crate::Gfp::WRITE) go to nodes that are below their [limit](Builder::vm_dirty_ratio), as long as there are such.
    ///
    /// ```
    /// # use gfp::{Allocator, Nid, node::NodeStatItem};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let node = Nid::new(0);
    /// allocator.mod_node_page_state(node, NodeStatItem::FileDirty, 100)?;
    /// assert!(allocator.node_dirty_ok(node)?);
    /// allocator.mod_node_page_state(node, NodeStatItem::Writeback, 10_000)?;
    /// assert!(!allocator.node_dirty_ok(node)?, "more than a fifth of 64 MiB");
    /// assert_eq!(allocator.vmstat().nr_writeback, 10_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such node; or when the count would be less than nothing or more than the node has frames. Nothing is
    /// changed then.
    pub fn mod_node_page_state(
        &self,
        node: Nid,
        item: NodeStatItem,
        delta: i64,
    ) -> Result<(), NodeStatError> {
        self.core().domain.node_counters().modify(node, item, delta)
    }

    /// Tells whether a node has no more pages that are dirty, or are being flushed, than it may have (`node_dirty_ok`).
    ///
    /// The limit is a share of what could be dirty: of what is free, less the reserves, and of the pages of files that were
    /// [counted](Self::mod_node_page_state).
    ///
    /// ```
    /// # use gfp::{Allocator, Nid, node::NodeStatItem};
    /// # let allocator = Allocator::builder(64 << 20).vm_dirty_ratio(0).build()?;
    /// assert!(allocator.node_dirty_ok(Nid::new(0))?);
    /// allocator.mod_node_page_state(Nid::new(0), NodeStatItem::FileDirty, 1)?;
    /// assert!(!allocator.node_dirty_ok(Nid::new(0))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_dirty_ok(&self, node: Nid) -> Result<bool, NodeStatError> {
        let domain = &self.core().domain;
        if node.index() >= domain.zonelists().nodes() {
            return Err(NodeStatError::NoNode { node });
        }
        Ok(domain.node_dirty_ok(node))
    }
}

impl Builder {
    /// Sets how many hundredths of a node's dirtyable memory may be dirty, 0 to 100, before requests with
    /// [`Gfp::WRITE`](crate::Gfp::WRITE) go to other nodes (`vm.dirty_ratio`); 20 unless told otherwise. Replaces
    /// [`vm_dirty_bytes`](Self::vm_dirty_bytes).
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).vm_dirty_ratio(40).build()?;
    /// assert!(Allocator::builder(64 << 20).vm_dirty_ratio(101).build().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn vm_dirty_ratio(mut self, percent: u8) -> Self {
        self.dirty_limit = DirtyLimit::Ratio(percent);
        self
    }

    /// Sets how many bytes of all nodes together may be dirty, instead of a [share](Self::vm_dirty_ratio) (`vm.dirty_bytes`);
    /// each node may have its part of them.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).vm_dirty_bytes(1 << 20).build()?;
    /// assert_eq!(allocator.vmstat().nr_dirty_threshold, 256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn vm_dirty_bytes(mut self, bytes: u64) -> Self {
        self.dirty_limit = DirtyLimit::Bytes(bytes);
        self
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::{
        Gfp, Maintain, NodeMask, Order,
        alloc::{Asked, NoPressure, alloc_pages_nodemask},
        error::Refusal,
        zone::Waiting,
    };
    use core::cell::Cell;

    #[test]
    fn an_error_says_that_a_node_was_over_its_limit() {
        let builder = Allocator::builder(64 << 20).dma(0).maintain(Maintain::ByHand).vm_dirty_ratio(0);
        let allocator = builder.build().expect("address space");
        let (node, domain) = (Nid::new(0), &allocator.core().domain);
        allocator.mod_node_page_state(node, NodeStatItem::FileDirty, 1).expect("it has more frames");
        let (gfp, order, waiting) = (Gfp::KERNEL | Gfp::WRITE, Order::ZERO, Waiting::Allowed);
        // With nobody to turn to, the first attempt is all there is.
        let content = &Cell::default();
        let asked = Asked { domain, pressure: &NoPressure, owner: None, gfp, order, waiting, content };
        let error = alloc_pages_nodemask(&asked, None, NodeMask::ALL).expect_err("nothing may be dirty");
        assert!(error.tried().map(|zone| zone.refusal).eq([Refusal::DirtyLimit]), "{error}");
        let asked = Asked { gfp: Gfp::KERNEL, ..asked };
        assert!(alloc_pages_nodemask(&asked, None, NodeMask::ALL).is_ok(), "it does not write");
    }
}
