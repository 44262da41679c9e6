//! What should not be.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use gfp::Pfn;
use serde::{Deserialize, Serialize};

/// Something that is wrong with the allocator, or with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The thread whose operation found it; `None` for a checkpoint.
    pub thread: Option<usize>,
    /// The number of that operation in the epoch, or of the operations that each thread had done.
    pub operation: u64,
    /// The frame, if it is about one.
    pub frame: Option<u32>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(frame) = self.frame {
            write!(f, "frame {frame:#x}: ")?;
        }
        write!(f, "{} (", self.what)?;
        match self.thread {
            Some(thread) => write!(f, "thread {thread}, operation {}", self.operation)?,
            None => write!(f, "checkpoint after {} operations of each thread", self.operation)?,
        }
        write!(f, " of epoch {}, seed {})", self.epoch, self.seed)
    }
}

/// A violation without its circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) frame: Option<Pfn>,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { frame: None, what: what.into() }
    }

    pub(super) fn at(frame: Pfn, what: impl Into<String>) -> Self {
        Self { frame: Some(frame), what: what.into() }
    }

    pub(super) fn during(self, place: Place) -> Violation {
        let Place { seed, epoch, thread, operation } = place;
        Violation { seed, epoch, thread, operation, frame: self.frame.map(Pfn::get), what: self.what }
    }
}

/// Runs something of which a panic is a problem too. What it panicked with in its hands is not to be used any more.
pub(super) fn caught<R>(run: impl FnOnce() -> Result<R, Problem>) -> Result<R, Problem> {
    let text = |panic: &(dyn Any + Send)| {
        let text = panic.downcast_ref::<&str>().copied();
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
    };
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Problem::new(format!("panic: {}", text(&*panic)))))
}

/// Where in a soak something happens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) seed: u64,
    pub(super) epoch: u64,
    pub(super) thread: Option<usize>,
    pub(super) operation: u64,
}

thread_local! {
    /// What this thread does, for those who are called in the middle of it.
    static HERE: Cell<Place> = const { Cell::new(Place { seed: 0, epoch: 0, thread: None, operation: 0 }) };
}

impl Place {
    /// Says that the calling thread is here now.
    pub(super) fn enter(self) {
        HERE.set(self);
    }

    /// Returns where the calling thread is.
    pub(super) fn current() -> Self {
        HERE.get()
    }
}

/// The first violation, which ends the soak.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stop: AtomicBool,
    first: Mutex<Option<Violation>>,
}

impl Watch {
    /// Notes a violation, unless there was one, and lets all threads stop.
    pub(super) fn report(&self, violation: Violation) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(violation);
        self.stop.store(true, Ordering::Release);
    }

    pub(super) fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn first(&self) -> Option<Violation> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
