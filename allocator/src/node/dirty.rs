//! What callers say of the frames of a node, and how many of them may be dirty.
//!
//! An allocator does not see what is written into its frames. Whoever has pages that must be flushed before their frames are of use
//! to others says so, and requests for pages that will be written to go to nodes that have few of them.

use core::fmt;

use crate::{
    frame::{FRAME_BYTES, Nid},
    sync::{
        CachePadded,
        atomic::{AtomicU64, Ordering},
    },
};

/// What is counted of a node by those who use its frames (`enum node_stat_item`), in frames.
///
/// ```
/// use gfp::node::NodeStatItem;
///
/// assert_eq!(NodeStatItem::FileDirty.name(), "nr_dirty");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeStatItem {
    /// Pages of files, or whatever a cache keeps, that were used lately.
    #[doc(alias = "NR_ACTIVE_FILE")]
    ActiveFile,
    /// Those that were not.
    #[doc(alias = "NR_INACTIVE_FILE")]
    InactiveFile,
    /// Pages that must be flushed before their frames can be given up.
    #[doc(alias = "NR_FILE_DIRTY")]
    FileDirty,
    /// Pages that are being flushed.
    #[doc(alias = "NR_WRITEBACK")]
    Writeback,
}

impl NodeStatItem {
    /// How many there are.
    const COUNT: usize = 4;

    /// Returns the name that `/proc/vmstat` and `/proc/zoneinfo` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActiveFile => "nr_active_file",
            Self::InactiveFile => "nr_inactive_file",
            Self::FileDirty => "nr_dirty",
            Self::Writeback => "nr_writeback",
        }
    }
}

impl fmt::Display for NodeStatItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A count of a node that was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatError {
    /// There is no such node.
    NoNode {
        /// The node that was named.
        node: Nid,
    },
    /// The count would be less than nothing, or more than the node has frames.
    OutOfRange {
        /// The node.
        node: Nid,
        /// What was to be counted.
        item: NodeStatItem,
        /// Where the count stands.
        count: u64,
        /// How it was to be changed.
        delta: i64,
    },
}

impl fmt::Display for NodeStatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode { node } => {
                write!(f, "there is no node {node}; name one that the allocator has")
            }
            Self::OutOfRange { node, item, count, delta } => write!(
                f,
                "cannot change {item} of node {node} by {delta}: it stands at {count}, and may be from 0 to the node's frames; \
                 take off what was added, once"
            ),
        }
    }
}

impl std::error::Error for NodeStatError {}

/// One node's counts, by [`NodeStatItem`].
#[derive(Debug)]
struct Counts {
    frames: u64,
    items: [AtomicU64; NodeStatItem::COUNT],
}

/// The counts of all nodes (`pgdat->vm_stat`).
///
/// ```
/// use gfp::{Nid, node::{NodeCounters, NodeStatError, NodeStatItem}};
///
/// let (node, item) = (Nid::new(0), NodeStatItem::FileDirty);
/// let counters = NodeCounters::new([1000]);
/// counters.modify(node, item, 30)?;
/// counters.modify(node, item, -10)?;
/// assert_eq!(counters.get(node, item), 20);
/// let wrong = counters.modify(node, item, -21);
/// assert_eq!(wrong, Err(NodeStatError::OutOfRange { node, item, count: 20, delta: -21 }));
/// assert_eq!(counters.modify(Nid::new(1), item, 1), Err(NodeStatError::NoNode { node: Nid::new(1) }));
/// # Ok::<(), NodeStatError>(())
/// ```
#[derive(Debug)]
pub struct NodeCounters(Box<[CachePadded<Counts>]>);

impl NodeCounters {
    /// Makes counters that stand at 0, for nodes with so many frames.
    pub fn new(frames: impl IntoIterator<Item = u64>) -> Self {
        let zeros = || core::array::from_fn(|_| AtomicU64::new(0));
        let counts = |frames| CachePadded::new(Counts { frames, items: zeros() });
        Self(frames.into_iter().map(counts).collect())
    }

    /// Returns a count; 0 for a node that does not exist.
    pub fn get(&self, node: Nid, item: NodeStatItem) -> u64 {
        self.0.get(node.index()).map_or(0, |counts| counts.items[item as usize].load(Ordering::Relaxed))
    }

    /// Changes a count by `delta` frames (`mod_node_page_state`).
    ///
    /// # Errors
    /// When there is no such node; or when the count would be out of its range, and then nothing is changed.
    pub fn modify(&self, node: Nid, item: NodeStatItem, delta: i64) -> Result<(), NodeStatError> {
        let counts = self.0.get(node.index()).ok_or(NodeStatError::NoNode { node })?;
        let change = |count: u64| count.checked_add_signed(delta).filter(|&changed| changed <= counts.frames);
        let word = &counts.items[item as usize];
        let changed = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        changed.map(drop).map_err(|count| NodeStatError::OutOfRange { node, item, count, delta })
    }
}

/// How many frames may be dirty or on their way to be clean.
///
/// ```
/// use gfp::node::DirtyLimit;
///
/// // A fifth of what could be dirty; or so many bytes of all nodes together, a share of which is this node's.
/// assert_eq!(DirtyLimit::default().of_node(999, || 5000), 199);
/// let two_pages = DirtyLimit::Bytes(4097);
/// assert_eq!((two_pages.of_all(5000), two_pages.of_node(2500, || 5000)), (2, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyLimit {
    /// So many hundredths of what could be dirty, at most 100 (`vm.dirty_ratio`).
    Ratio(u8),
    /// So many bytes of all nodes together (`vm.dirty_bytes`).
    Bytes(u64),
}

impl Default for DirtyLimit {
    /// A fifth.
    fn default() -> Self {
        Self::Ratio(20)
    }
}

impl DirtyLimit {
    /// Returns the frames of one node that may be dirty, of `dirtyable` that could be, and of what `all` says of all nodes
    /// (`node_dirty_limit`; its extra for real-time threads is not given).
    #[must_use]
    pub fn of_node(self, dirtyable: u64, all: impl FnOnce() -> u64) -> u64 {
        match self {
            Self::Ratio(percent) => scaled(dirtyable, u64::from(percent), 100),
            Self::Bytes(_) => {
                let all = all();
                scaled(self.of_all(all), dirtyable, all)
            }
        }
    }

    /// Returns the frames of all nodes that may be dirty, of `dirtyable` that could be (`nr_dirty_threshold`).
    #[must_use]
    pub fn of_all(self, dirtyable: u64) -> u64 {
        match self {
            Self::Ratio(percent) => scaled(dirtyable, u64::from(percent), 100),
            Self::Bytes(bytes) => bytes.div_ceil(FRAME_BYTES as u64),
        }
    }
}

/// Returns `frames` × `part` / `whole`, rounded down; nothing of nothing.
fn scaled(frames: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(frames) * u128::from(part);
    product.checked_div(u128::from(whole)).map_or(0, |share| u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_delta_changes_nothing_and_says_what_it_was() {
        let counters = NodeCounters::new([10, 20]);
        let (node, item) = (Nid::new(1), NodeStatItem::Writeback);
        counters.modify(node, item, 20).expect("as many as there are frames");
        for delta in [1, -21, i64::MAX, i64::MIN] {
            let wrong = counters.modify(node, item, delta);
            assert_eq!(wrong, Err(NodeStatError::OutOfRange { node, item, count: 20, delta }));
            assert_eq!((counters.get(node, item), counters.get(Nid::new(0), item)), (20, 0));
        }
        let error = counters.modify(node, item, -21).expect_err("too much");
        assert_eq!(
            error.to_string(),
            "cannot change nr_writeback of node 1 by -21: it stands at 20, and may be from 0 to the node's frames; \
             take off what was added, once"
        );
        let missing = counters.modify(Nid::new(2), item, 0).expect_err("there are two");
        assert_eq!(missing.to_string(), "there is no node 2; name one that the allocator has");
    }

    #[test]
    fn limits_neither_overflow_nor_divide_by_nothing() {
        assert_eq!(DirtyLimit::Ratio(100).of_node(u64::MAX, || 1), u64::MAX);
        assert_eq!(DirtyLimit::Ratio(0).of_node(u64::MAX, || 1), 0);
        assert_eq!(DirtyLimit::Bytes(u64::MAX).of_node(0, || 0), 0);
        assert_eq!(DirtyLimit::Bytes(8 * 4096).of_node(300, || 1200), 2);
    }
}
