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
/// let found = cpuset.retry_on_change(|allowed| {
///     cpuset.set(NodeMask::ALL);
///     if allowed.contains(node) { Ok(node) } else { Err("not allowed") }
/// });
/// assert_eq!(found, Ok(node));
/// ```
#[derive(Debug)]
#[doc(alias = "mems_allowed")]
pub struct Cpuset {
    allowed: AtomicU64,
    /// Grows by one with every change, so that two that undo each other are noticed.
    changes: AtomicU32,
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

    /// Runs a request with the allowed nodes, and again when it failed and they are others by then
    /// (`read_mems_allowed_begin`, `read_mems_allowed_retry`).
    ///
    /// Neither look is enough: the count is behind for a moment, and the nodes may have changed there and back.
    ///
    /// # Errors
    /// That of the last run, all of which had the nodes that are allowed at its end.
    #[doc(alias = "read_mems_allowed_retry")]
    pub fn retry_on_change<T, E>(&self, request: impl Fn(NodeMask) -> Result<T, E>) -> Result<T, E> {
        loop {
            let before = self.changes();
            let allowed = self.allowed();
            let result = request(allowed);
            let stale = || self.allowed() != allowed || self.changes() != before;
            if result.is_ok() || seeded(SeededBug::CpusetSkipsRetry) || !stale() {
                return result;
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const OLD: NodeMask = NodeMask::of(Nid::new(5));
    const NEW: NodeMask = NodeMask::of(Nid::new(1));

    #[test]
    fn a_request_that_fails_during_a_change_runs_again_with_the_new_nodes() {
        let cpuset = Cpuset::default();
        assert!(cpuset.cpuset_zone_allowed(Nid::new(5)));
        cpuset.set(OLD);
        let seen = RefCell::new(Vec::new());
        let failed: Result<(), ()> = cpuset.retry_on_change(|allowed| {
            match seen.borrow().len() {
                0 => cpuset.set(NEW),
                // There and back.
                1 => [OLD, NEW].into_iter().for_each(|nodes| cpuset.set(nodes)),
                _ => {}
            }
            seen.borrow_mut().push(allowed);
            Err(())
        });
        assert_eq!((failed, seen.into_inner()), (Err(()), vec![OLD, NEW, NEW]));
        assert!(!cpuset.cpuset_zone_allowed(Nid::new(5)));
    }

    #[test]
    fn a_request_that_is_served_during_a_change_is_served() {
        let cpuset = Cpuset::default();
        let served: Result<NodeMask, ()> = cpuset.retry_on_change(|allowed| {
            cpuset.set(NEW);
            Ok(allowed)
        });
        assert_eq!(served, Ok(NodeMask::ALL));
    }
}
