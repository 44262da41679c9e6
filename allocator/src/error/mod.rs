//! What can go wrong: a request ([`AllocError`]), a free ([`FreeError`]), or building an allocator ([`BuildError`]).
//!
//! The first two are plain values of fixed size: nothing on their way allocates, so they can report that memory is
//! exhausted. Each says what was asked, what was found, and what to do about it.

mod alloc;
mod build;
mod frag;
mod free;
mod get;
mod range;

pub use alloc::{AllocError, FailReason, MAX_TRIED, Refusal, TriedZone};
pub use build::BuildError;
pub use frag::FragError;
pub use free::{FrameStory, FreeError, Misuse};
pub use get::GetError;
pub use range::{RangeError, RangeProblem};
