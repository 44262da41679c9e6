//! Blocks as plain numbers, which many threads know and one frees.

use gfp::{Allocator, RawParts};
use std::sync::Mutex;

/// The numbers of blocks, each until somebody has freed it. Never locked over a scheduling point.
#[derive(Default)]
pub(crate) struct Parts(Mutex<Vec<RawParts>>);

impl Parts {
    fn with<R>(&self, f: impl FnOnce(&mut Vec<RawParts>) -> R) -> R {
        f(&mut self.0.lock().expect("no panic"))
    }

    /// Lets all know of a block that was taken apart.
    pub(crate) fn add(&self, parts: RawParts) {
        self.with(|all| all.push(parts));
    }

    /// Frees one of them, drawn with `below`, unless another thread is faster. Tells whether there was one.
    pub(crate) fn free_any(&self, allocator: &Allocator, below: impl FnOnce(usize) -> usize) -> bool {
        let Some(parts) = self.with(|all| (!all.is_empty()).then(|| all[below(all.len())])) else {
            return false;
        };
        // SAFETY: others may do the same at this moment; all but one are refused, and who succeeded takes the numbers out, before
        // as many blocks are taken apart there as there are generations.
        let freed = unsafe { allocator.free_raw(parts) }.is_ok();
        let known = self.with(|all| {
            let at = all.iter().position(|known| *known == parts);
            at.filter(|_| freed).map(|at| all.swap_remove(at)).is_some()
        });
        assert_eq!(freed, known, "a block is freed once");
        true
    }
}
