//! What the debug modes of an allocator know.

use core::fmt;
use std::collections::HashMap;

use super::{Caller, DebugModes, PageOwner};
use crate::{Allocator, alloc::Busy};

/// How often the debug modes found something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugCounts {
    /// Blocks that were written to after they were freed, and are left out of circulation.
    pub withheld_blocks: u64,
    /// The frames of these; [`conservation`](Allocator::conservation) counts them as allocated.
    pub withheld_frames: u64,
    /// Blocks that were about to be handed out although somebody had them.
    pub in_use: u64,
    /// How often the guard was lifted from all free memory, because the system refused a mapping.
    pub guard_lifted: u64,
}

/// The live blocks that one line allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerBlocks {
    /// The line.
    pub caller: Option<Caller>,
    /// How many blocks.
    pub blocks: u64,
    /// How many frames these have.
    pub frames: u64,
    /// The block that is out for the longest time.
    pub oldest: PageOwner,
}

/// The live blocks of an allocator, in the spirit of /sys/kernel/debug/page_owner: what is still there at the end has leaked.
///
/// Its text has a paragraph for each line of the program that has live blocks, most frames first.
#[derive(Clone, Debug)]
pub struct PageOwnerReport {
    blocks: Vec<PageOwner>,
}

impl PageOwnerReport {
    /// Returns the live blocks, lowest first.
    ///
    /// ```
    /// # use gfp::{Allocator, DebugModes, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).debug(DebugModes::PAGE_OWNER).build()?;
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// let report = allocator.page_owner().expect("the mode is on");
    /// assert_eq!(report.blocks()[0].pfn, page.pfn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocks(&self) -> &[PageOwner] {
        &self.blocks
    }

    /// Returns the live blocks by the line that allocated them, most frames first.
    ///
    /// ```
    /// # use gfp::{Allocator, DebugModes, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).debug(DebugModes::PAGE_OWNER).build()?;
    /// let pages: Vec<_> = (0..3).map(|_| allocator.alloc_page(Gfp::KERNEL)).collect::<Result<_, _>>()?;
    /// let report = allocator.page_owner().expect("the mode is on");
    /// assert_eq!(report.by_caller().len(), 1, "one line asked for all");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_caller(&self) -> Vec<CallerBlocks> {
        let mut callers: HashMap<Option<Caller>, CallerBlocks> = HashMap::new();
        for &block in &self.blocks {
            let caller = block.allocated.caller;
            let entry =
                callers.entry(caller).or_insert(CallerBlocks { caller, blocks: 0, frames: 0, oldest: block });
            entry.blocks += 1;
            entry.frames += u64::from(block.order.frames());
            if block.allocated.at < entry.oldest.allocated.at {
                entry.oldest = block;
            }
        }
        let mut callers: Vec<_> = callers.into_values().collect();
        callers.sort_unstable_by_key(|entry| (core::cmp::Reverse(entry.frames), entry.oldest.pfn));
        callers
    }
}

impl fmt::Display for PageOwnerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CallerBlocks { caller, blocks, frames, oldest } in self.by_caller() {
            let caller = caller.map_or(&"unknown" as &dyn fmt::Display, |caller| caller);
            writeln!(f, "{blocks} times, {frames} pages, allocated at {caller}")?;
            let PageOwner { pfn, order, gfp, allocated } = oldest;
            let (thread, name, at) = (allocated.thread, allocated.name, allocated.at.as_nanos());
            writeln!(
                f,
                "  oldest: PFN {:#x}, order {order}, mask {:#x}({gfp}), thread {thread} ({name}), ts {at} ns",
                pfn.get(),
                gfp.bits()
            )?;
        }
        Ok(())
    }
}

impl Allocator {
    /// Returns the debug modes that the allocator was built with.
    ///
    /// ```
    /// # use gfp::{Allocator, DebugModes};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.debug_modes(), DebugModes::empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn debug_modes(&self) -> DebugModes {
        self.core().debug.as_ref().map_or(DebugModes::empty(), |debug| debug.modes)
    }

    /// Returns how often the debug modes found something.
    ///
    /// ```
    /// # use gfp::{Allocator, DebugModes};
    /// let allocator = Allocator::builder(64 << 20).debug(DebugModes::PAGE_POISON).build()?;
    /// assert_eq!(allocator.debug_counts().withheld_blocks, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn debug_counts(&self) -> DebugCounts {
        self.core().debug.as_ref().map_or(DebugCounts::default(), |debug| debug.counts())
    }

    /// Returns the live blocks and who allocated them; `None` without [`DebugModes::PAGE_OWNER`].
    ///
    /// Exact while no other thread allocates or frees. A block that is plain numbers is live.
    ///
    /// ```
    /// # use gfp::{Allocator, DebugModes, Gfp};
    /// let allocator = Allocator::builder(64 << 20).debug(DebugModes::PAGE_OWNER).build()?;
    /// let kept = allocator.alloc_page(Gfp::KERNEL)?;
    /// let report = allocator.page_owner().expect("the mode is on");
    /// assert_eq!(report.by_caller()[0].blocks, 1);
    /// println!("{report}"); // 1 times, 1 pages, allocated at src/main.rs:5:22 ...
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn page_owner(&self) -> Option<PageOwnerReport> {
        let _busy = Busy::enter();
        let owners = self.core().debug.as_ref()?.owners.as_ref()?;
        Some(PageOwnerReport { blocks: owners.live().collect() })
    }
}
