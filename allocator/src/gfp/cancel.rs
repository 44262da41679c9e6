//! Requests that their thread may give up: cancellation tokens and deadlines.
//!
//! The kernel has fatal signals only. Here a thread enters the scope of a [`CancelToken`], and every request that it makes inside,
//! at any depth, ends soon after the token was cancelled, by whichever thread; also one that may not fail. A
//! deadline ends one [request](crate::Allocator::request) in the same way. Both are looked at where a request found nothing,
//! and never on the way of a hit.
//!
//! ```
//! use gfp::gfp::CancelToken;
//!
//! let (tenant, job) = (CancelToken::new(), CancelToken::new());
//! let scopes = (tenant.enter(), job.enter());
//! tenant.cancel(); // From any thread. Requests of this one obey both.
//! assert!(tenant.is_cancelled() && !job.is_cancelled());
//! drop(scopes);
//! ```

use core::{
    cell::{Cell, RefCell},
    marker::PhantomData,
};
use std::time::Instant;

use crate::sync::{
    Arc, SeededBug,
    atomic::{AtomicU8, Ordering},
    seeded, thread_local,
};

/// A token's word is one of these: not cancelled, cancelled, or chosen to give its memory up.
const LIVE: u8 = 0;
const CANCELLED: u8 = 1;
const VICTIM: u8 = 2;

/// Ends the requests of all threads that are inside its scope, once it is cancelled. Clones are the same token.
#[derive(Clone, Debug)]
pub struct CancelToken {
    state: Arc<AtomicU8>,
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancelToken {
    /// Makes a token.
    ///
    /// ```
    /// # use gfp::CancelToken;
    /// assert!(!CancelToken::new().is_cancelled());
    /// ```
    pub fn new() -> Self {
        Self { state: Arc::new(AtomicU8::new(LIVE)) }
    }

    /// Ends the requests inside its scope, now and later. One that sleeps notices within a millisecond. A request that finds a block
    /// meanwhile returns it: a cancelled request has taken nothing.
    ///
    /// ```
    /// # use gfp::{Allocator, CancelToken, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let token = CancelToken::new();
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         let _scope = token.enter();
    ///         let page = allocator.alloc_page(Gfp::KERNEL | Gfp::NOFAIL); // Waits for memory, or for the token.
    ///     });
    ///     token.cancel();
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) {
        let order = if seeded(SeededBug::CancelRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        self.state.fetch_or(CANCELLED, order);
    }

    /// Cancels the token because memory has run out: what its threads still ask for, to come to an end, may use the reserve that is kept
    /// for that (`mark_oom_victim`).
    ///
    /// Returns whether it was not a victim before.
    #[cfg(not(loom))]
    pub(crate) fn choose_as_victim(&self) -> bool {
        self.state.fetch_or(VICTIM, Ordering::Release) & VICTIM == 0
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    /// Tells whether somebody has cancelled it. What they did before is visible then.
    ///
    /// ```
    /// # use gfp::CancelToken;
    /// let token = CancelToken::new();
    /// token.clone().cancel();
    /// assert!(token.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.state() != LIVE
    }

    /// Lets the calling thread's requests obey the token until the guard is dropped. Scopes nest, and may end in any order. A thread's first
    /// one allocates a few bytes from the heap.
    ///
    /// ```
    /// # use gfp::CancelToken;
    /// let token = CancelToken::new();
    /// let scope = token.enter();
    /// // Requests of this thread…
    /// drop(scope);
    /// ```
    pub fn enter(&self) -> CancelScope {
        // A thread that ends has no scopes any more, nor has a signal handler that interrupted it just here.
        let _: Result<(), _> = LIMITS.try_with(|limits| {
            if let Ok(mut tokens) = limits.tokens.try_borrow_mut() {
                tokens.push(self.clone());
            }
        });
        CancelScope { token: self.clone(), _not_send: PhantomData }
    }
}

/// A guard inside which the thread's requests obey a [`CancelToken`].
#[derive(Debug)]
#[must_use = "the scope ends when its guard is dropped"]
pub struct CancelScope {
    token: CancelToken,
    /// Bound to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Drop for CancelScope {
    fn drop(&mut self) {
        let _: Result<(), _> = LIMITS.try_with(|limits| {
            let Ok(mut tokens) = limits.tokens.try_borrow_mut() else { return };
            let same = |token: &CancelToken| Arc::ptr_eq(&token.state, &self.token.state);
            if let Some(place) = tokens.iter().rposition(same) {
                tokens.remove(place);
            }
        });
    }
}

/// A guard inside which the thread's requests end at a moment, or at an earlier one that was in force before.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct DeadlineScope {
    before: Option<Instant>,
    /// Bound to its thread.
    _not_send: PhantomData<*const ()>,
}

#[cfg(not(loom))]
impl DeadlineScope {
    /// Enters the scope until the guard is dropped; guards are dropped in the opposite order.
    pub(crate) fn enter(deadline: Instant) -> Self {
        let sooner = |before: Option<Instant>| Some(before.map_or(deadline, |before| before.min(deadline)));
        let before = LIMITS.try_with(|limits| limits.deadline.replace(sooner(limits.deadline.get())));
        Self { before: before.ok().flatten(), _not_send: PhantomData }
    }
}

#[cfg(not(loom))]
impl Drop for DeadlineScope {
    fn drop(&mut self) {
        let _: Result<(), _> = LIMITS.try_with(|limits| limits.deadline.set(self.before));
    }
}

/// What ends the thread's requests early.
struct ThreadLimits {
    tokens: RefCell<Vec<CancelToken>>,
    deadline: Cell<Option<Instant>>,
}

thread_local! {
    static LIMITS: ThreadLimits =
        const { ThreadLimits { tokens: RefCell::new(Vec::new()), deadline: Cell::new(None) } };
}

/// Why a request is to end although it might still be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A token of the thread's was cancelled.
    Cancelled,
    /// A token of the thread's was chosen when memory ran out: the request may use a reserve, and ends if that does not serve it.
    Victim,
    /// Its deadline has passed.
    DeadlineExceeded,
}

/// Tells whether something asks the calling thread's requests to end.
///
/// A signal handler that interrupted the thread while it enters or leaves a scope sees none.
///
/// ```
/// use gfp::gfp::{CancelToken, Stop, current_stop};
///
/// let token = CancelToken::new();
/// let scope = token.enter();
/// assert_eq!(current_stop(), None);
/// token.cancel();
/// assert_eq!(current_stop(), Some(Stop::Cancelled));
/// drop(scope);
/// assert_eq!(current_stop(), None);
/// ```
#[must_use]
pub fn current_stop() -> Option<Stop> {
    let stop = LIMITS.try_with(|limits| {
        let tokens = limits.tokens.try_borrow().ok();
        let states = tokens.iter().flat_map(|tokens| tokens.iter().map(CancelToken::state));
        let state = states.fold(LIVE, |all, state| all | state);
        match limits.deadline.get() {
            _ if state & CANCELLED != 0 => Some(Stop::Cancelled),
            Some(deadline) if Instant::now() >= deadline => Some(Stop::DeadlineExceeded),
            _ => (state & VICTIM != 0).then_some(Stop::Victim),
        }
    });
    stop.ok().flatten()
}

/// Returns what was taken, and asks what ends the request only if that is nothing: what was taken is handed out, however soon after the
/// request was asked to end.
///
/// ```
/// use gfp::gfp::{Stop, unless_stopped};
///
/// let cancelled = || Some(Stop::Cancelled);
/// assert_eq!(unless_stopped(Some("a block"), cancelled), Ok(Some("a block")));
/// assert_eq!(unless_stopped(None::<&str>, cancelled), Err(Stop::Cancelled));
/// assert_eq!(unless_stopped(None::<&str>, || None::<Stop>), Ok(None));
/// ```
///
/// # Errors
/// What ends the request, which has taken nothing.
pub fn unless_stopped<T, S>(taken: Option<T>, stopped: impl FnOnce() -> Option<S>) -> Result<Option<T>, S> {
    if taken.is_some() && !seeded(SeededBug::CancelTakesBack) {
        return Ok(taken);
    }
    stopped().map_or(Ok(taken), Err)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn scopes_nest_and_end_in_any_order() {
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        let first = outer.enter();
        let second = inner.enter();
        let again = outer.enter();
        inner.cancel();
        assert_eq!(current_stop(), Some(Stop::Cancelled));
        drop(second);
        assert_eq!(current_stop(), None);
        outer.cancel();
        drop(first);
        assert_eq!(current_stop(), Some(Stop::Cancelled), "it was entered twice");
        drop(again);
        assert_eq!(current_stop(), None);
    }

    #[test]
    fn tokens_that_are_both_cancelled_do_not_make_up_for_each_other() {
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        let _scopes = (outer.enter(), inner.enter());
        assert!(!outer.is_cancelled() && !inner.is_cancelled());
        for token in [&outer, &inner] {
            token.cancel();
            assert!(token.is_cancelled());
            assert_eq!(current_stop(), Some(Stop::Cancelled));
        }
    }

    #[test]
    fn a_scope_stays_on_its_thread() {
        let token = CancelToken::new();
        let _scope = token.enter();
        token.cancel();
        let elsewhere = crate::sync::thread::spawn(current_stop).join().expect("no panic");
        assert_eq!(elsewhere, None);
    }

    #[test]
    fn a_deadline_inside_another_cannot_be_later() {
        let (past, future) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        let outer = DeadlineScope::enter(past);
        let inner = DeadlineScope::enter(future);
        assert_eq!(current_stop(), Some(Stop::DeadlineExceeded));
        drop(inner);
        drop(outer);
        assert_eq!(current_stop(), None);
        let _later = DeadlineScope::enter(future);
        assert_eq!(current_stop(), None);
    }

    #[test]
    fn a_victim_is_cancelled_and_a_cancelled_victim_gets_no_reserve() {
        let token = CancelToken::new();
        let _scope = token.enter();
        assert!(token.choose_as_victim() && !token.choose_as_victim());
        assert!(token.is_cancelled());
        assert_eq!(current_stop(), Some(Stop::Victim));
        token.cancel();
        assert_eq!(current_stop(), Some(Stop::Cancelled));
    }
}
