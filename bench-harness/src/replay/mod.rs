//! Replaying a kernel's trace through an allocator.
//!
//! | file | idea |
//! |---|---|
//! | `plan` | the events of each thread, and in which turn each event may touch its slot |
//! | `pace` | threads that keep each slot's order and stay within [`WINDOW`] events of each other |
//! | `play` | the timed loop, and the slots that hold the blocks between their events |
//! | `verify` | the same with every block stamped, checked and looked up for overlaps |
//! | `placement` | how many 2 MiB blocks the live memory is spread over, ours and the kernel's |
//! | [`Timeline`] | the same while the trace goes on, and the largest block that could be had |
//! | `occupancy` | which frames are in use |
//! | `bits` | frames as bits |
//! | [`prefill`] | an arena that is as fragmented as the kernel's memory was |
//! | `contestant` | an allocator's threads, which wait between passes |
//! | [`measure`] | the passes of one or more allocators, interleaved |
//! | `outcome` | the record and the table made of them |
//!
//! Two kinds of passes are run. **Verify**: blocks are zeroed where the kernel's request said so; each is checked when
//! allocated (aligned, not overlapping a live one, zero where asked), stamped in the first and last word of every
//! frame, and checked for its stamps when freed. **Time**: nothing touches the blocks and `__GFP_ZERO` is ignored;
//! a second figure honours it. Each pass begins with nothing allocated and ends by freeing, untimed, what the trace
//! left allocated.

mod bits;
mod contestant;
mod measure;
mod occupancy;
mod outcome;
mod pace;
mod placement;
mod plan;
mod play;
pub mod prefill;
mod timeline;
mod verify;

pub use contestant::Contestant;
pub use measure::{Measured, Passes, measure};
pub use outcome::Outcome;
pub use pace::WINDOW;
pub use placement::{MeanPeak, Placement, kernel_placement};
pub use plan::{Job, Threads};
pub use timeline::Timeline;
pub use verify::Verified;
