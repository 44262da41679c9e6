//! Arguments of calls that are one of a few: by whom, how, until when.

use arbitrary::Arbitrary;
use serde::{Deserialize, Serialize};

use super::bytes;

/// Who makes a request or a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
pub enum By {
    /// The allocator, which looks up the thread's cache.
    Allocator,
    /// The first of two handles of the thread.
    Handle,
    /// The second of two handles of the thread.
    OtherHandle,
    /// Another thread, which has a cache, but no policy and no scopes; it is waited for.
    Thread,
}

/// By which function a block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
pub enum Ask {
    /// `alloc_pages`.
    Pages,
    /// `alloc_page`, whatever the order.
    Page,
    /// `alloc_zeroed_pages`, of the allocator.
    Zeroed,
    /// `get_zeroed_page`, of the allocator.
    ZeroedPage,
}

/// How a block is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
pub enum Free {
    /// By its drop.
    Drop,
    /// `free_pages` of the allocator, `free_page` of a single frame.
    Allocator,
    /// `free_pages` of the handle.
    Handle,
    /// `free_pages` of a handle of another allocator.
    Stranger,
    /// By its drop on another thread.
    Thread,
    /// `free_pages_cold`.
    Cold,
    /// `free_pages_nolock`.
    NoLock,
    /// Taken apart, put together, taken apart and freed; and once more, which is refused.
    RawParts,
    /// With several references, of which the last frees it.
    Shared,
    /// Frame by frame.
    Split,
}

/// What a thread may not do for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
#[expect(missing_docs, reason = "the names are those of the guards")]
pub enum Scope {
    NoIo,
    NoFs,
    Memalloc,
}

/// How a shrinker behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
pub enum Manner {
    /// It frees as many blocks as it is asked for.
    Willing,
    /// It tells nodes apart, and frees blocks of the one that it is asked for.
    OfNode,
    /// At first it counts more than it has, and says that it has freed all that it was asked for.
    Boastful,
    /// At first it stops every scan.
    Reluctant,
    /// It frees what it is asked for once, and removes itself in the same scan.
    Leaving,
}

/// What may end a request early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
pub enum Limit {
    /// Nothing of its own.
    Unlimited,
    /// A deadline that is far away.
    Far,
    /// A deadline that has passed.
    Past,
    /// A token that nobody cancels.
    Live,
    /// A token that is cancelled.
    Cancelled,
    /// A token that is cancelled, and a deadline that has passed.
    PastAndCancelled,
}

/// What is counted of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
#[expect(missing_docs, reason = "the names are those of the items")]
pub enum Counted {
    ActiveFile,
    InactiveFile,
    Dirty,
    Writeback,
}

impl Counted {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::ActiveFile, Self::InactiveFile, Self::Dirty, Self::Writeback];
}

/// By how much a count is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
pub enum Amount {
    /// By so many frames.
    Frames(#[arbitrary(with = bytes::delta)] i64),
    /// So that the node would have so many dirty frames more than it may have, if it is dirty ones that are counted.
    ToLimit(#[arbitrary(with = bytes::beyond)] i8),
}
