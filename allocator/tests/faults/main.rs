//! System calls that fail, one at a time and in pairs, when an allocator is built and later.
//!
//! Each call that can be refused has its answer: an error that names the call, the reason and what to do, or something
//! lesser, which is reported. Whatever fails, a builder that does not build leaves no mapping, thread or file behind.
//!
//! Each test forks a process of its own, in which nothing else maps memory.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod build;
mod later;
mod plan;
mod topology;

/// How long a child may take, on a busy machine.
const SECONDS: u32 = 300;

/// Runs a test in a process of its own.
#[track_caller]
fn alone(test: impl FnOnce()) {
    assert_eq!(common::in_child(SECONDS, test), Ok(0), "see above");
}
