//! One call of the public interface with its arguments. Positions are modulo what there is, so that any program means
//! something, also when a part of it is left out.
//!
//! | file | idea |
//! |---|---|
//! | `arguments` | by whom, how, until when |
//! | `mask` | a request's flags |
//! | `policy` | memory policies, and nodes as bits |
//! | `strategy` | programs at random, for properties |
//! | `bytes` | programs out of bytes, for fuzzers |

mod arguments;
mod bytes;
mod mask;
mod policy;
mod strategy;

use core::fmt;

use arbitrary::Arbitrary;
use serde::{Deserialize, Serialize};

pub use arguments::{Amount, Ask, By, Counted, Free, Limit, Manner, Scope};
pub use bytes::from_bytes;
pub use mask::Mask;
pub use policy::Policy;
pub use strategy::calls;

pub(crate) use policy::mask;

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
#[expect(missing_docs, reason = "the parameters are those of the function")]
pub enum Call {
    /// Asks for blocks until one is refused.
    Alloc {
        by: By,
        ask: Ask,
        gfp: Mask,
        #[arbitrary(with = bytes::order)]
        order: u8,
        #[arbitrary(with = bytes::times)]
        times: u8,
    },
    /// `alloc_pages_node`.
    OnNode {
        #[arbitrary(with = bytes::node)]
        node: Option<usize>,
        gfp: Mask,
        #[arbitrary(with = bytes::order)]
        order: u8,
    },
    /// `alloc_pages_nodemask`.
    FromNodes {
        #[arbitrary(with = bytes::node)]
        node: Option<usize>,
        #[arbitrary(with = bytes::bits)]
        allowed: u8,
        gfp: Mask,
        #[arbitrary(with = bytes::order)]
        order: u8,
    },
    /// `alloc_pages_mpol`, whatever the thread's policy is.
    OfPolicy {
        policy: Policy,
        gfp: Mask,
        #[arbitrary(with = bytes::order)]
        order: u8,
    },
    /// `alloc_pages_bulk`.
    Bulk {
        by: By,
        gfp: Mask,
        #[arbitrary(with = bytes::count)]
        count: u16,
    },
    /// `alloc_pages_exact`.
    Exact {
        gfp: Mask,
        #[arbitrary(with = bytes::exact)]
        bytes: usize,
    },
    /// `alloc_pages_nolock`.
    NoLock {
        #[arbitrary(with = bytes::order)]
        order: u8,
    },
    /// Asks for a block that is known by a key from then on; frees the one that the key had.
    Keep {
        #[arbitrary(with = bytes::key)]
        key: u32,
        gfp: Mask,
        #[arbitrary(with = bytes::order)]
        order: u8,
    },
    /// Frees the block of a key.
    Release {
        #[arbitrary(with = bytes::key)]
        key: u32,
        how: Free,
    },
    /// Frees blocks.
    Free {
        position: usize,
        how: Free,
        #[arbitrary(with = bytes::times)]
        times: u8,
    },
    /// `free_pages_bulk` of the blocks that were asked for last.
    FreeBulk {
        by: By,
        #[arbitrary(with = bytes::count)]
        count: u16,
    },
    /// Frees frames of `alloc_pages_exact`.
    FreeExact { position: usize },
    /// `into_shared`.
    Share { position: usize },
    /// Another reference of a shared block.
    Get { position: usize },
    /// A reference less, which makes it a plain block again if it was the last.
    Put { position: usize },
    /// A piece of a page, from one of three caches.
    Frag {
        #[arbitrary(with = bytes::cache)]
        cache: usize,
        #[arbitrary(with = bytes::fragment)]
        bytes: usize,
        /// log2 of the alignment.
        #[arbitrary(with = bytes::frag_align)]
        align: u8,
    },
    /// Frees a piece of a page.
    FreeFrag { position: usize },
    /// The cache leaves the page at hand.
    DrainFrags {
        #[arbitrary(with = bytes::cache)]
        cache: usize,
    },
    /// `allocate` or `allocate_zeroed` of a layout.
    Layout {
        gfp: Mask,
        #[arbitrary(with = bytes::layout)]
        bytes: usize,
        /// log2 of the alignment.
        #[arbitrary(with = bytes::align)]
        align: u8,
        zeroed: bool,
    },
    /// `grow`, `grow_zeroed` or `shrink`, as the sizes are.
    Resize {
        position: usize,
        gfp: Mask,
        #[arbitrary(with = bytes::layout)]
        bytes: usize,
        /// log2 of the alignment.
        #[arbitrary(with = bytes::align)]
        align: u8,
        zeroed: bool,
    },
    /// `deallocate`.
    FreeLayout { position: usize },
    /// `mempolicy`, which takes the place of the one before.
    Policy(Policy),
    /// `set_mems_allowed`.
    MemsAllowed(#[arbitrary(with = bytes::bits)] u8),
    /// `set_reclaiming`.
    Reclaiming {
        #[arbitrary(with = bytes::known_node)]
        node: usize,
        now: bool,
    },
    /// Enters a scope.
    Enter(Scope),
    /// Leaves a scope, not always the innermost.
    Leave { position: usize },
    /// `start_isolate`, as all ranges in pageblocks.
    Isolate {
        pageblock: u32,
        #[arbitrary(with = bytes::pageblocks)]
        count: u32,
    },
    /// `undo_isolate`.
    UndoIsolate {
        pageblock: u32,
        #[arbitrary(with = bytes::pageblocks)]
        count: u32,
    },
    /// `offline_pages`.
    Offline {
        pageblock: u32,
        #[arbitrary(with = bytes::pageblocks)]
        count: u32,
    },
    /// `online_pages`.
    Online {
        pageblock: u32,
        #[arbitrary(with = bytes::pageblocks)]
        count: u32,
    },
    /// `alloc_contig_range`.
    Contig {
        start: u32,
        #[arbitrary(with = bytes::frames)]
        frames: u32,
    },
    /// `cma_alloc`.
    Cma {
        #[arbitrary(with = bytes::frames)]
        frames: u32,
        #[arbitrary(with = bytes::cma_align)]
        align: u8,
    },
    /// Frees contiguous frames.
    FreeContig { position: usize },
    /// `request`, with nodes and what may end it early; it `insists` if it may not fail, where something ends it.
    Request {
        #[arbitrary(with = bytes::node)]
        node: Option<usize>,
        #[arbitrary(with = bytes::maybe_bits)]
        allowed: Option<u8>,
        gfp: Mask,
        #[arbitrary(with = bytes::order)]
        order: u8,
        limit: Limit,
        insists: bool,
    },
    /// Enters the scope of a new token.
    EnterToken,
    /// Cancels a token whose scope the thread is inside.
    Cancel { token: usize },
    /// Leaves the scope of a token.
    LeaveToken { token: usize },
    /// `mod_node_page_state`.
    Dirty {
        #[arbitrary(with = bytes::any_node)]
        node: usize,
        counted: Counted,
        amount: Amount,
    },
    /// `trim`.
    Trim,
    /// `register_shrinker`, for an empty bag; in the place of the oldest when there are three.
    Bag {
        manner: Manner,
        #[arbitrary(with = bytes::batch)]
        batch: u8,
    },
    /// Puts blocks into a bag.
    FillBag {
        bag: usize,
        position: usize,
        #[arbitrary(with = bytes::times)]
        times: u8,
    },
    /// Removes the shrinker of a bag; its blocks are the caller's again.
    DropBag { bag: usize },
    /// `drain_all`.
    DrainAll,
    /// `age`.
    Age,
    /// The other thread ends, and its cache with it; another takes its place.
    EndThread,
    /// Compares all that the allocator says of its frames with the model.
    Check,
}

impl Call {
    /// Returns its name, without its arguments.
    #[must_use]
    pub fn name(&self) -> String {
        let text = self.to_string();
        text.split('(').next().unwrap_or(&text).to_owned()
    }
}

impl fmt::Display for Call {
    /// Writes one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ron::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl core::str::FromStr for Call {
    type Err = ron::error::SpannedError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        ron::from_str(line)
    }
}
