//! Measuring: teams of pinned threads, samples, what is made of them, and what is measured after them: times of single operations,
//! locks, memory, the counters of the processor.

mod calibrate;
mod contestant;
mod counters;
mod cpus;
mod dispatch;
mod latency;
mod locks;
mod member;
mod memory;
mod placement;
mod plan;
mod seating;
mod stats;
mod team;
mod verify;

pub use calibrate::Calibration;
pub use contestant::{Contestant, StartContestant};
pub use counters::{Counters, Counts};
pub use cpus::Cpus;
pub use latency::Quantiles;
pub use locks::{LockUse, Locks};
pub use memory::{Footprint, Resident};
pub use placement::{Placement, topology};
pub use plan::Plan;
pub(crate) use seating::Seating;
pub use stats::{Summary, summarize};
pub use team::{StartTeam, Team};

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an allocator could not be measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    /// It refused a request, though the arena has room for all that the workload asks for.
    OutOfBlocks,
    /// The system lets no process have what it needs for all that the workload asks for.
    SystemLimit,
    /// It is so slow that it was not waited for.
    TooSlow {
        /// An operation takes more than this.
        above_ns_per_op: f64,
    },
    /// It handed out a block that shares memory with a live one.
    Overlap {
        /// The address of the new block.
        address: usize,
        /// The address of the live one.
        live: usize,
    },
    /// It handed out a block that does not begin at a frame.
    Misaligned {
        /// The block's address.
        address: usize,
    },
    /// It handed out a block that was to be zeroed, and was not.
    NotZeroed {
        /// The address of the first byte that is not zero.
        address: usize,
    },
    /// One of the threads panicked.
    ThreadLost,
}

impl Fault {
    /// Tells whether that is a result; the others are defects, of the allocator or of what was asked for.
    pub fn is_result(self) -> bool {
        matches!(self, Self::TooSlow { .. } | Self::SystemLimit)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBlocks => f.write_str("a request was refused: a larger --arena may help"),
            Self::SystemLimit => f.write_str(
                "not possible: a process may have vm.max_map_count mappings, which is less than it needs",
            ),
            Self::TooSlow { above_ns_per_op } => {
                write!(f, "not waited for: an operation takes more than {above_ns_per_op:.0} ns")
            }
            Self::Overlap { address, live } => {
                write!(f, "the block at {address:#x} overlaps the live block at {live:#x}")
            }
            Self::Misaligned { address } => write!(f, "the block at {address:#x} is not aligned to 4096"),
            Self::NotZeroed { address } => write!(f, "the byte at {address:#x} was to be zeroed, and is not"),
            Self::ThreadLost => f.write_str("a thread of the workload panicked"),
        }
    }
}

impl std::error::Error for Fault {}
