//! Frames: their numbers, their descriptors, and the containers that carry them between a zone and a thread.
//!
//! A frame is 4 KiB of the arena. What must be known of a frame beyond its owner stands in its [descriptor](Descriptor),
//! never inside the frame itself, so that free memory can be given back to the system at any time.
//!
//! ```
//! // A block on its way: out of the buddy, to an owner as plain numbers, and back.
//! use gfp::{Order, Pfn, gfp::MigrateType};
//! use gfp::frame::{
//!     AllocatorNumber, FrameState, FrameTable, PcpList, References, ZoneNumber, bring_back, check_new_page,
//!     free_pages_prepare, hand_out, prep_new_page, put_page_testzero, put_together, share, take_apart, take_back, unshare,
//!     withhold,
//! };
//!
//! let frames = FrameTable::new(AllocatorNumber::new(1).expect("1 to 16383"), 4096).expect("16 KiB");
//! let references = References::new(frames.len()).expect("16 KiB");
//! let (order, zone) = (Order::new(2), ZoneNumber::new(0));
//! let list = PcpList::of(order, MigrateType::Unmovable);
//! let block = prep_new_page(&frames, Pfn::new(8), list, zone, order);
//!
//! // As plain numbers: the descriptor knows, so that they come back once.
//! let generation = take_apart(&frames, block).expect("nobody has it");
//! assert!(take_apart(&frames, block).is_err());
//! assert_eq!(put_together(&frames, Pfn::new(8), order, generation), Ok(block));
//! assert!(put_together(&frames, Pfn::new(8), order, generation).is_err(), "a double free");
//!
//! // Where a debug mode checks handovers, the descriptor follows the block to its owner, too.
//! hand_out(&frames, block).expect("nobody has it");
//! take_back(&frames, block).expect("somebody had it");
//! assert!(take_back(&frames, block).is_err());
//!
//! // Several may hold it; the last one owns it again.
//! share(&frames, &references, block, 2).expect("it has one owner");
//! assert_eq!(put_page_testzero(&frames, &references, block, 1), Ok(None));
//! assert_eq!(put_page_testzero(&frames, &references, block, 1), Ok(Some(block)));
//! share(&frames, &references, block, 1).expect("it has one owner");
//! assert_eq!(unshare(&frames, &references, block), Ok(true), "nobody else has it");
//!
//! // Blocks may be left out of circulation, or wait until the zone's lock is free.
//! withhold(&frames, block).expect("nobody has it");
//! assert_eq!(bring_back(&frames, Pfn::new(8)), Ok(block));
//! free_pages_prepare(&frames, block).expect("nobody has it");
//! let found = frames.get(Pfn::new(8)).expect("in the arena");
//! assert_eq!(found.state(), Some(FrameState::Pending));
//! assert!(!check_new_page(found), "the buddy may not hand it out");
//! ```

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
