//! The nodes that an allocator's requests may use.

use crate::{
    frame::Nid,
    node::NodeMask,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// The allowed nodes (`mems_allowed`), which may change while requests run.
#[derive(Debug)]
pub(crate) struct Cpuset {
    allowed: AtomicU64,
    /// Grows by one with every change, so that a request that failed knows whether it looked at one state of things.
    changes: AtomicU32,
}

impl Default for Cpuset {
    fn default() -> Self {
        Self { allowed: AtomicU64::new(NodeMask::ALL.bits()), changes: AtomicU32::new(0) }
    }
}

/// When a request looked at the allowed nodes first (`read_mems_allowed_begin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpusetCookie(u32);

impl Cpuset {
    /// Tells whether a request may use a node's zones (`__cpuset_zone_allowed`).
    pub(crate) fn cpuset_zone_allowed(&self, node: Nid) -> bool {
        self.allowed().contains(node)
    }

    /// Returns the allowed nodes.
    pub(crate) fn allowed(&self) -> NodeMask {
        NodeMask::from_bits(self.allowed.load(Ordering::Acquire))
    }

    /// Changes the allowed nodes.
    pub(super) fn set(&self, allowed: NodeMask) {
        self.allowed.store(allowed.bits(), Ordering::Release);
        // After the change: whoever saw the old nodes and fails has an old cookie.
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Begins a request (`read_mems_allowed_begin`).
    pub(crate) fn begin(&self) -> CpusetCookie {
        CpusetCookie(self.changes.load(Ordering::Acquire))
    }

    /// Tells whether the allowed nodes have changed since (`read_mems_allowed_retry`).
    pub(crate) fn changed_since(&self, cookie: CpusetCookie) -> bool {
        self.begin() != cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_whoever_began_before() {
        let cpuset = Cpuset::default();
        let before = cpuset.begin();
        assert!(cpuset.cpuset_zone_allowed(Nid::new(5)) && !cpuset.changed_since(before));
        cpuset.set(NodeMask::of(Nid::new(1)));
        assert!(cpuset.changed_since(before) && !cpuset.changed_since(cpuset.begin()));
        assert!(cpuset.cpuset_zone_allowed(Nid::new(1)) && !cpuset.cpuset_zone_allowed(Nid::new(5)));
    }
}
