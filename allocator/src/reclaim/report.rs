//! What is told of kswapds.

use crate::{frame::Nid, platform::PlatformError};

/// What a node's kswapd does, and has done so far.
///
/// ```
/// # use gfp::{Allocator, KswapdReport, Pinned};
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let kswapd: KswapdReport = allocator.kswapds().remove(0);
/// assert_eq!((kswapd.has_thread, kswapd.reclaimed), (true, 0));
/// assert_eq!(kswapd.pinned, Pinned::NotAsked); // the allocator does not tell nodes apart
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KswapdReport {
    /// The node.
    pub node: Nid,
    /// Whether there is a thread; if not, [`Allocator::age`](crate::Allocator::age) does its work.
    pub has_thread: bool,
    /// Whether the thread is tied to the node's CPUs.
    pub pinned: Pinned,
    /// Whether it is awake, or has been woken.
    pub running: bool,
    /// Whether so many runs in a row have failed that it is no longer woken, until memory was freed by somebody else.
    pub hopeless: bool,
    /// Runs in a row that reclaimed nothing for a node that needed it.
    pub failures: u32,
    /// How often it was woken.
    pub wakeups: u64,
    /// How often it has begun to reclaim.
    pub runs: u64,
    /// Frames that caches looked at for it.
    pub scanned: u64,
    /// Frames that were freed for it.
    pub reclaimed: u64,
}

/// What became of tying a thread to the CPUs of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It was not tried: the allocator does not tell nodes apart, the node has no CPUs, or there is no thread yet.
    NotAsked,
    /// The topology is not this machine's: there are no such CPUs.
    Simulated,
    /// The system did it.
    Done,
    /// The system refused; the thread runs anywhere.
    Refused(PlatformError),
}
