//! Blocks as plain numbers.

use crate::{
    error::{FrameStory, FreeError, Misuse},
    frame::{BadFrame, Block, Descriptor, FrameState, Order, Pfn},
};

use super::{core::Core, id::AllocatorId};

/// A block as plain numbers: what a C interface, or another process that maps the arena, can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawParts {
    /// The first frame.
    pub pfn: Pfn,
    /// The order.
    pub order: Order,
    /// Which allocator of this process the block belongs to.
    pub allocator: AllocatorId,
    /// How often blocks that begin at this frame had been freed before, modulo 512: it tells these parts from those of a
    /// later owner, except for one in 512.
    pub generation: u16,
}

impl RawParts {
    pub(super) const fn of(block: Block, allocator: AllocatorId) -> Self {
        Self {
            allocator,
            pfn: block.pfn(),
            order: block.descriptor().order(),
            generation: block.descriptor().generation(),
        }
    }

    /// Finds the block that these parts name.
    pub(super) fn block(self, core: &Core) -> Result<Block, FreeError> {
        if self.allocator != core.id() {
            let (pfn, order) = (self.pfn.get(), self.order.get());
            return Err(FreeError::new(Misuse::Foreign, pfn, order, FrameStory::Unknown));
        }
        let found = core.domain.frames().get(self.pfn);
        let refuse = |found: Option<Descriptor>| {
            // What is compared is what the parts hold: the generation.
            let expected = found.filter(|found| found.generation() == self.generation);
            let expected = expected.unwrap_or(Descriptor::from_bits(!found.map_or(0, Descriptor::bits)));
            core.explain(BadFrame { pfn: self.pfn, found }, self.order, Some(expected))
        };
        let Some(descriptor) = found else { return Err(refuse(None)) };
        let same = descriptor.state() == Some(FrameState::Allocated)
            && descriptor.order() == self.order
            && descriptor.generation() == self.generation;
        if same { Ok(Block::new(self.pfn, descriptor)) } else { Err(refuse(Some(descriptor))) }
    }
}
