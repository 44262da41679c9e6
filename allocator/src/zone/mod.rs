//! One zone of the arena.
#![deny(unsafe_code)]

pub mod sizing;
pub mod watermark;
