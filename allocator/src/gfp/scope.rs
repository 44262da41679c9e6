//! What the calling thread may not do now, whoever it calls.
//!
//! Code that must not be re-entered by reclaim (a shrinker, a storage layer holding its lock) opens a scope; every
//! request that the thread makes inside it, at any depth, loses the corresponding flags. A scope is a guard: it
//! ends when dropped, scopes nest, and guards may be dropped in any order.
//!
//! ```
//! use gfp::gfp::{Gfp, NoFsScope, current_gfp_context};
//!
//! let outside = current_gfp_context(Gfp::KERNEL);
//! let scope = NoFsScope::enter();
//! assert_eq!(current_gfp_context(Gfp::KERNEL), Gfp::NOFS);
//! drop(scope);
//! assert_eq!(current_gfp_context(Gfp::KERNEL), outside);
//! ```
//!
//! ```
//! use gfp::gfp::{Gfp, MemallocScope, NoIoScope, Scopes, apply_scopes, current_scopes};
//!
//! let scopes = (NoIoScope::enter(), MemallocScope::enter());
//! assert_eq!(current_scopes(), Scopes::NOIO | Scopes::MEMALLOC);
//! assert_eq!(apply_scopes(Gfp::KERNEL, current_scopes()), Gfp::NOIO);
//! drop(scopes);
//! assert!(current_scopes().is_empty());
//! ```

use core::marker::PhantomData;
use std::cell::Cell;

use super::Gfp;
use crate::sync::thread_local;

bitflags::bitflags! {
    /// The scopes that a thread is inside.
    #[repr(transparent)]
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
    pub struct Scopes: u8 {
        /// Requests neither start input or output nor re-enter the storage layer.
        #[doc(alias = "PF_MEMALLOC_NOIO")]
        const NOIO = 1;
        /// Requests do not re-enter the storage layer.
        #[doc(alias = "PF_MEMALLOC_NOFS")]
        const NOFS = 2;
        /// Requests may use all reserves and never reclaim: the thread is freeing memory.
        #[doc(alias = "PF_MEMALLOC")]
        const MEMALLOC = 4;
        /// Requests may use a part of the reserve: memory ran out, and the thread was chosen to come to an end. No guard opens this
        /// one; a [`CancelToken`](super::CancelToken) does.
        #[doc(alias = "TIF_MEMDIE")]
        const OOM_VICTIM = 8;
    }
}

/// How deep the thread is inside each kind of scope, and the summary that requests read.
struct ThreadScopes {
    active: Cell<Scopes>,
    noio: Cell<u32>,
    nofs: Cell<u32>,
    memalloc: Cell<u32>,
}

thread_local! {
    static SCOPES: ThreadScopes = const {
        ThreadScopes {
            active: Cell::new(Scopes::empty()),
            noio: Cell::new(0),
            nofs: Cell::new(0),
            memalloc: Cell::new(0),
        }
    };
}

impl ThreadScopes {
    /// Counts one more guard of `kind`. A forgotten guard keeps its scope open, as a kernel thread's flag would.
    fn enter(&self, kind: Scopes, depth: &Cell<u32>) {
        depth.set(depth.get().saturating_add(1));
        self.active.set(self.active.get() | kind);
    }

    /// Counts one guard of `kind` less, and ends the scope with the last.
    fn leave(&self, kind: Scopes, depth: &Cell<u32>) {
        depth.set(depth.get().saturating_sub(1));
        if depth.get() == 0 {
            self.active.set(self.active.get().difference(kind));
        }
    }
}

/// Defines the guard of one kind of scope.
macro_rules! scope {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $depth:ident) => {
        $(#[$doc])*
        #[must_use = "the scope ends when its guard is dropped"]
        #[derive(Debug)]
        pub struct $name {
            // The depth belongs to the thread that entered.
            not_send: PhantomData<*const ()>,
        }

        impl $name {
            /// Enters the scope until the guard is dropped.
            pub fn enter() -> Self {
                SCOPES.with(|scopes| scopes.enter(Scopes::$kind, &scopes.$depth));
                Self { not_send: PhantomData }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                SCOPES.with(|scopes| scopes.leave(Scopes::$kind, &scopes.$depth));
            }
        }
    };
}

scope! {
    /// A guard inside which the thread's requests lose IO and FS.
    #[doc(alias = "memalloc_noio_save")]
    NoIoScope, NOIO, noio
}

scope! {
    /// A guard inside which the thread's requests lose FS.
    #[doc(alias = "memalloc_nofs_save")]
    NoFsScope, NOFS, nofs
}

scope! {
    /// A guard inside which the thread's requests may use all reserves and never reclaim.
    ///
    /// For code that frees memory and needs a little to do so. `__GFP_NOMEMALLOC` wins over it.
    #[doc(alias = "memalloc_noreclaim_save")]
    MemallocScope, MEMALLOC, memalloc
}

/// Returns the scopes that the calling thread is inside.
///
/// ```
/// use gfp::gfp::{NoIoScope, Scopes, current_scopes};
///
/// let scope = NoIoScope::enter();
/// assert_eq!(current_scopes(), Scopes::NOIO);
/// # drop(scope);
/// ```
#[inline]
#[must_use]
pub fn current_scopes() -> Scopes {
    SCOPES.with(|scopes| scopes.active.get())
}

/// Returns `gfp` without what `scopes` forbid.
///
/// ```
/// use gfp::gfp::{Gfp, Scopes, apply_scopes};
///
/// const NOIO: Gfp = apply_scopes(Gfp::KERNEL, Scopes::NOIO);
/// assert_eq!(NOIO, Gfp::NOIO);
/// ```
#[inline]
#[must_use]
pub const fn apply_scopes(gfp: Gfp, scopes: Scopes) -> Gfp {
    if scopes.contains(Scopes::NOIO) {
        gfp.without(Gfp::IO).without(Gfp::FS)
    } else if scopes.contains(Scopes::NOFS) {
        gfp.without(Gfp::FS)
    } else {
        gfp
    }
}

/// Returns `gfp` without what the calling thread's scopes forbid (kernel: `current_gfp_context`).
///
/// With no scope open this costs one thread-local byte.
///
/// ```
/// use gfp::gfp::{Gfp, NoIoScope, current_gfp_context};
///
/// let scope = NoIoScope::enter();
/// assert_eq!(current_gfp_context(Gfp::KERNEL | Gfp::ZERO), Gfp::NOIO | Gfp::ZERO);
/// # drop(scope);
/// ```
#[inline]
#[must_use]
pub fn current_gfp_context(gfp: Gfp) -> Gfp {
    apply_scopes(gfp, current_scopes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_narrow_requests_and_nest() {
        assert_eq!(current_gfp_context(Gfp::KERNEL), Gfp::KERNEL);
        let nofs = NoFsScope::enter();
        assert_eq!(current_gfp_context(Gfp::KERNEL), Gfp::NOFS);
        let noio = NoIoScope::enter();
        assert_eq!(current_gfp_context(Gfp::KERNEL), Gfp::NOIO);
        drop(noio);
        assert_eq!(current_gfp_context(Gfp::KERNEL), Gfp::NOFS);
        drop(nofs);
        assert_eq!(current_gfp_context(Gfp::KERNEL), Gfp::KERNEL);
    }

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        let first = MemallocScope::enter();
        let second = MemallocScope::enter();
        drop(first);
        assert_eq!(current_scopes(), Scopes::MEMALLOC);
        drop(second);
        assert_eq!(current_scopes(), Scopes::empty());
    }

    #[test]
    fn a_scope_ends_on_unwind_and_stays_on_its_thread() {
        let _outer = NoIoScope::enter();
        let seen = crate::sync::thread::spawn(current_scopes).join().unwrap();
        assert_eq!(seen, Scopes::empty());
        let unwound = std::panic::catch_unwind(|| {
            let _inner = MemallocScope::enter();
            panic!("unwinding through the scope");
        });
        assert!(unwound.is_err());
        assert_eq!(current_scopes(), Scopes::NOIO);
    }
}
