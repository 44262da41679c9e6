//! Blocks as plain numbers.

use crate::{
    error::{FrameStory, FreeError, Misuse},
    frame::{Block, Order, Pfn, put_together},
};

use super::{core::Core, id::AllocatorId};

/// A block as plain numbers: what a C interface, or another process that maps the arena, can hold.
///
/// These can be copied, so each use is checked: a block is taken apart once and put together once, whatever threads try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawParts {
    /// The first frame.
    pub pfn: Pfn,
    /// The order.
    pub order: Order,
    /// Which allocator of this process the block belongs to.
    pub allocator: AllocatorId,
    /// How often blocks that begin at this frame had been made of their parts before, modulo 1024: it tells these parts from
    /// earlier ones, except for one in 1024.
    pub generation: u16,
}

impl RawParts {
    /// Makes the block that these parts name, unless it was made before.
    pub(super) fn put_together(self, core: &Core) -> Result<Block, FreeError> {
        if self.allocator != core.id() {
            let (pfn, order) = (self.pfn.get(), self.order.get());
            return Err(FreeError::new(Misuse::Foreign, pfn, order, FrameStory::Unknown));
        }
        put_together(core.domain.frames(), self.pfn, self.order, self.generation)
            .and_then(|block| core.return_from_record(block).map(|()| block))
            .map_err(|bad| core.explain(bad, self.order, Some(self.generation)))
    }
}
