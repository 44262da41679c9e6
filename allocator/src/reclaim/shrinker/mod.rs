//! Shrinkers: how a cache offers its pages.
//!
//! Whoever keeps pages that it could do without implements [`Shrinker`] and registers it
//! ([`Allocator::register_shrinker`](crate::Allocator::register_shrinker)). When memory is short, each registered shrinker is asked how
//! many objects it has, and is told to give up a share of them (`shrink_slab`).
//!
//! | idea | file |
//! |---|---|
//! | what a cache implements | `contract.rs` |
//! | how large its share is: the kernel's arithmetic | `share.rs` |
//! | one shrinker: its object, what it put off, what it did | `entry.rs` |
//! | what came back to the allocator, whatever the shrinker says | `meter.rs`, `elsewhere.rs` |
//! | a turn of one shrinker | `turn.rs` |
//! | all shrinkers of an allocator | `shrinkers.rs` |
//! | what the owner of a registered shrinker holds | `registered.rs` |

mod contract;
mod elsewhere;
mod entry;
mod meter;
mod registered;
mod round;
mod share;
mod shrinkers;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod turn;

pub use contract::{ObjectCount, ShrinkControl, Shrinker};
pub use entry::ShrinkerReport;
pub use registered::RegisteredShrinker;
pub(crate) use round::{ShrinkRound, Shrunk};
pub(crate) use shrinkers::Shrinkers;
