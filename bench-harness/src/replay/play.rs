//! The timed loop.

use std::cell::UnsafeCell;

use super::{pace::Pace, plan::Step};
use crate::{
    rival::{Request, RivalThread, Zeroing},
    trace::Op,
};

/// What a pass makes of `__GFP_ZERO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZeroFlag {
    Ignored,
    Honoured,
}

/// The places that hold the blocks between their events.
pub(super) struct Slots<B> {
    cells: Vec<UnsafeCell<Option<B>>>,
}

// SAFETY: a cell is only touched by the thread whose turn it is (the contract of `put` and `take`), so sharing the slots
// does no more than send blocks between threads.
unsafe impl<B: Send> Sync for Slots<B> {}

impl<B> Slots<B> {
    pub(super) fn new(count: usize) -> Self {
        Self { cells: (0..count).map(|_| UnsafeCell::new(None)).collect() }
    }

    /// Puts the block of an allocation into its slot, which is empty; `None` is an allocation that failed.
    ///
    /// # Safety
    ///
    /// No other thread touches the slot now, and one that did has been synchronised with.
    #[inline(always)]
    pub(super) unsafe fn put(&self, slot: u32, block: Option<B>) {
        let cell = self.cells[slot as usize].get();
        // Written without a look at what is there: an assignment would drop it, and so read the slot first, of those
        // allocators alone whose blocks have a drop.
        // SAFETY: the caller is the only one to touch the cell.
        unsafe { cell.write(block) };
    }

    /// Takes the block out of its slot, if its allocation did not fail.
    ///
    /// # Safety
    ///
    /// As for [`put`](Self::put).
    #[inline(always)]
    pub(super) unsafe fn take(&self, slot: u32) -> Option<B> {
        let cell = self.cells[slot as usize].get();
        // SAFETY: the caller is the only one to touch the cell.
        unsafe { (*cell).take() }
    }
}

/// Replays a thread's steps without touching any block; returns how many allocations failed.
///
/// # Safety
///
/// `pace` orders the events of each slot: its `enter` returns in the step's turn only, `leave` ends the turn. (A single
/// thread with all steps needs no order.)
#[inline(never)]
pub(super) unsafe fn play<T: RivalThread, P: Pace>(
    thread: &mut T,
    steps: &[Step],
    slots: &Slots<T::Block>,
    pace: &P,
    worker: usize,
    zero_flag: ZeroFlag,
) -> u64 {
    let mut failed = 0;
    let mut local = P::Local::default();
    for (number, step) in steps.iter().enumerate() {
        pace.enter(&mut local, worker, number, step);
        match step.op {
            Op::Alloc(migrate, zeroing) => {
                let zeroed = match zero_flag {
                    ZeroFlag::Ignored => Zeroing::Untouched,
                    ZeroFlag::Honoured => zeroing,
                };
                let block = thread.alloc(Request { order: u32::from(step.order), migrate, zeroed });
                failed += u64::from(block.is_none());
                // SAFETY: it is this step's turn.
                unsafe { slots.put(step.slot, block) };
            }
            Op::Free => {
                // SAFETY: it is this step's turn.
                if let Some(block) = unsafe { slots.take(step.slot) } {
                    thread.free(block, u32::from(step.order));
                }
            }
        }
        pace.leave(step);
    }
    failed
}
