//! Caches that give pages up when memory is short: those that behave, and all kinds of those that do not.

#[path = "../common/mod.rs"]
mod common;

mod lru;
mod misbehaviour;
mod progress;
mod removal;
mod rig;
