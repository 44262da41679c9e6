//! What can go wrong: a request ([`AllocError`]), a free ([`FreeError`]), or building an allocator ([`BuildError`]).
//!
//! The first two are plain values of fixed size: nothing on their way allocates, so they can report that memory is
//! exhausted. Each says what was asked, what was found, and what to do about it.

mod alloc;
mod build;
#[cfg(not(loom))]
mod finding;
mod frag;
mod free;
mod get;
mod range;
mod trace;

pub use alloc::{AllocError, FailReason, MAX_TRIED, ReclaimEffort, Refusal, TriedZone};
pub use build::BuildError;
#[cfg(not(loom))]
pub use finding::{Finding, Flaw};
pub use frag::FragError;
pub use free::{FrameStory, FreeError, Misuse};
pub use get::GetError;
pub use range::{RangeError, RangeProblem};
pub use trace::{ThreadName, Trace};
