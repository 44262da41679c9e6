//! The nodes that an allocator's requests may use.

use super::NodeMask;
use crate::{
    frame::Nid,
    sync::{
        SeededBug,
        atomic::{AtomicU32, AtomicU64, Ordering},
        seeded,
    },
};

/// The allowed nodes (`mems_allowed`), which may change while requests run.
///
/// ```
/// use gfp::{Nid, NodeMask, node::Cpuset};
///
/// let (cpuset, node) = (Cpuset::default(), Nid::new(1));
/// assert_eq!(cpuset.allowed(), NodeMask::ALL);
/// cpuset.set(NodeMask::of(Nid::new(0)));
/// assert!(!cpuset.cpuset_zone_allowed(node));
/// // The node is allowed just after the request has looked for it: it looks again.
/// let mems = cpuset.read_mems_allowed_begin();
/// assert!(!mems.allowed().contains(node));
/// cpuset.set(NodeMask::ALL);
/// assert!(cpuset.read_mems_allowed_retry(mems));
/// assert!(cpuset.read_mems_allowed_begin().allowed().contains(node));
/// ```
#[derive(Debug)]
#[doc(alias = "mems_allowed")]
pub struct Cpuset {
    allowed: AtomicU64,
    /// Grows by one with every change, so that two that undo each other are noticed.
    changes: AtomicU32,
}

/// The allowed nodes as they were when a request began (`cpuset_mems_cookie`).
///
/// ```
/// use gfp::{Nid, NodeMask, node::Cpuset};
///
/// let cpuset = Cpuset::default();
/// let before = cpuset.read_mems_allowed_begin();
/// cpuset.set(NodeMask::of(Nid::new(0)));
/// assert_eq!(before.allowed(), NodeMask::ALL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "cpuset_mems_cookie")]
pub struct MemsAllowed {
    allowed: NodeMask,
    changes: u32,
}

impl MemsAllowed {
    /// Returns the nodes.
    #[must_use]
    pub const fn allowed(self) -> NodeMask {
        self.allowed
    }
}

impl Default for Cpuset {
    fn default() -> Self {
        Self { allowed: AtomicU64::new(NodeMask::ALL.bits()), changes: AtomicU32::new(0) }
    }
}

impl Cpuset {
    /// Tells whether a request may use a node's zones (`__cpuset_zone_allowed`).
    #[doc(alias = "__cpuset_zone_allowed")]
    #[doc(alias = "cpusets_enabled")]
    pub fn cpuset_zone_allowed(&self, node: Nid) -> bool {
        self.allowed().contains(node)
    }

    /// Returns the allowed nodes.
    pub fn allowed(&self) -> NodeMask {
        NodeMask::from_bits(self.allowed.load(Ordering::Acquire))
    }

    fn changes(&self) -> u32 {
        if seeded(SeededBug::CpusetUncounted) { 0 } else { self.changes.load(Ordering::Acquire) }
    }

    /// Changes the allowed nodes.
    pub fn set(&self, allowed: NodeMask) {
        self.allowed.store(allowed.bits(), Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Returns the allowed nodes, for a request that looks again when it fails (`read_mems_allowed_begin`).
    pub fn read_mems_allowed_begin(&self) -> MemsAllowed {
        let changes = self.changes();
        MemsAllowed { allowed: self.allowed(), changes }
    }

    /// Tells whether a request that failed has to run again, because other nodes were allowed since it began
    /// (`read_mems_allowed_retry`).
    ///
    /// Neither look is enough: the count is behind for a moment, and the nodes may have changed there and back.
    #[doc(alias = "check_retry_cpuset")]
    pub fn read_mems_allowed_retry(&self, seen: MemsAllowed) -> bool {
        let stale = self.allowed() != seen.allowed || self.changes() != seen.changes;
        stale && !seeded(SeededBug::CpusetSkipsRetry)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const OLD: NodeMask = NodeMask::of(Nid::new(5));
    const NEW: NodeMask = NodeMask::of(Nid::new(1));

    #[test]
    fn a_request_runs_again_with_the_new_nodes_also_when_they_changed_there_and_back() {
        let cpuset = Cpuset::default();
        assert!(cpuset.cpuset_zone_allowed(Nid::new(5)));
        cpuset.set(OLD);
        let first = cpuset.read_mems_allowed_begin();
        assert!(!cpuset.read_mems_allowed_retry(first), "nothing has changed");
        cpuset.set(NEW);
        assert!(cpuset.read_mems_allowed_retry(first));
        let second = cpuset.read_mems_allowed_begin();
        [OLD, NEW].into_iter().for_each(|nodes| cpuset.set(nodes));
        assert!(cpuset.read_mems_allowed_retry(second), "there and back");
        let third = cpuset.read_mems_allowed_begin();
        assert!(!cpuset.read_mems_allowed_retry(third));
        assert_eq!([first, second, third].map(MemsAllowed::allowed), [OLD, NEW, NEW]);
        assert!(!cpuset.cpuset_zone_allowed(Nid::new(5)));
    }
}
