//! The only door to atomics, cells, threads and locks.
//!
//! Everything that two threads can touch comes through here, so that the same code runs on `std`, under the
//! model checker loom (`--cfg loom`) and under shuttle's scheduler (`--cfg shuttle`). The root `clippy.toml`
//! refuses the originals; it sees through re-exports, which is why the names below are aliases and wrappers.
//!
//! | idea | here |
//! |---|---|
//! | lock of a zone: spin briefly, then park | [`SpinLock`] |
//! | order of locks, checked in debug builds | [`LockRank`], [`RankToken`] |
//! | a fence that is free for one side | [`asymmetric`] |
//! | data of one thread that others may drain | [`OwnedCell`], [`Owner`], [`OwnerSlot`] |
//! | all such data of a process | [`Registry`] |
//! | a value of somebody else's that may be taken away while it is used | [`Revocable`], [`Access`] |
//! | memory that starts as zeroes and costs nothing until touched | [`ZeroedSlice`], [`Zeroable`] |
//! | work left for the next lock holder | [`PendingMap`] |
//! | a thread that sleeps until there is work for it | [`Doorbell`] |
//! | counters with one writer | [`OwnedCounter`] |
//! | records that are read while somebody writes them | [`SeqCount`] |
//! | numbers that are in use, and what lies there | [`Places`] |
//! | a reference count inside a packed word | [`RefField`] |
//! | planted bugs that a model must find | [`SeededBug`], [`seeded`] |
//!
//! # Lock order
//!
//! A thread acquires ranks upwards only. Debug builds panic on a violation and name both ranks.
//!
//! | rank | lock | may be held together with its equal | held while |
//! |---|---|---|---|
//! | 1 | [`LockRank::Oom`] | no: it is tried, never waited for | the application does something because memory has run out |
//! | 2 | [`LockRank::Registry`] | no | threads and shrinkers come and go, drains walk the caches, counters are folded |
//! | 3 | [`LockRank::PcpClaim`] | yes: a claim is tried, never waited for while others are held | a thread's cache is drained |
//! | 4 | [`LockRank::Zone`] | no | the free areas of a zone change |
//! | 5 | [`LockRank::Leaf`] | no | anything that calls nobody |
//!
//! Nobody claims a cache, or waits for its owner, with a zone lock held. A try-lock cannot deadlock: its rank
//! is recorded but not checked, so that a signal handler may try any lock.

pub mod asymmetric;
mod cell;
mod counter;
mod doorbell;
mod facade;
mod owned;
mod owner_slot;
mod park;
mod pending;
mod places;
mod rank;
mod ref_field;
mod registry;
mod revocable;
mod seeded;
mod seq_count;
mod spin;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod zeroed;

pub use cell::UnsafeCell;
pub use counter::OwnedCounter;
#[cfg(not(loom))]
pub(crate) use counter::SharedCounter;
pub use crossbeam_utils::CachePadded;
pub use doorbell::{Doorbell, Rung, Slept};
#[cfg(any(loom, shuttle))]
#[doc(hidden)]
pub use facade::backend_thread_local;
pub use facade::{Arc, Condvar, Mutex, MutexGuard, atomic, hint, spin_until, thread, thread_local};
pub use owned::{Claim, Claimed, ClaimsFenced, Inside, NotEntered, OwnedCell, Owner, fence_claims};
pub use owner_slot::{LastOwner, OwnerSlot, Visit};
pub use pending::PendingMap;
pub use places::Places;
pub use rank::{LockRank, RankToken};
pub use ref_field::{Put, RefError, RefField};
pub use registry::{Registry, RegistryClosed};
pub use revocable::{Access, Revocable};
#[cfg(any(loom, shuttle))]
pub use seeded::with_seeded_bug;
pub use seeded::{SeededBug, seeded};
pub use seq_count::SeqCount;
#[cfg(feature = "lock-stats")]
pub use spin::LockStats;
pub use spin::{SpinGuard, SpinLock};
pub(crate) use zeroed::zeroable;
pub use zeroed::{Zeroable, ZeroedSlice, ZeroedSliceError};
