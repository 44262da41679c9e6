//! Frames: their numbers, their descriptors, and the containers that carry them between a zone and a thread.
//!
//! A frame is 4 KiB of the arena. What must be known of a frame beyond its owner stands in its [descriptor](Descriptor),
//! never inside the frame itself, so that free memory can be given back to the system at any time.

mod batch;
mod block;
mod descriptor;
mod number;
mod prepare;
mod references;
mod stack;
mod table;

pub use batch::FrameBatch;
pub use block::{Block, HotList, HotZone};
pub use descriptor::{BadFrame, Descriptor, FrameState, Mobility, PcpList};
pub use number::{
    AllocatorNumber, FRAME_BYTES, FRAME_SHIFT, MAX_MAX_ORDER, MIN_MAX_ORDER, NODES_MAX, Nid, Order,
    PAGEBLOCK_ORDER, Pfn, ZONES_MAX, ZoneNumber,
};
pub use prepare::{
    bring_back, check_new_page, free_pages_prepare, hand_out, prep_new_page, put_together, take_apart,
    take_back, withhold,
};
pub use references::{References, put_page_testzero, share, unshare};
pub use stack::{FrameLists, FrameStack, LIST_FRAMES_MAX, StackMemory};
pub use table::FrameTable;
