//! The thread's cache of free blocks.
#![deny(unsafe_code)]

pub mod sizing;
