//! What an allocator tells the application, and asks it.

use super::Builder;
use crate::{
    allocator::{FindingHook, MisuseHook},
    reclaim::{OomAction, OomReport},
    slowpath::AllocFailure,
};

impl Builder {
    /// Installs what is called with every misuse that a drop or a handle's free finds. It may abort the process.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).on_misuse(Box::new(|error| eprintln!("{error}"))).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_misuse(mut self, hook: MisuseHook) -> Self {
        self.hooks.on_misuse = Some(hook);
        self
    }

    /// Installs what is called when memory has run out for a request that could be served if somebody freed something: it frees something,
    /// chooses a scope to cancel, or lets the request fail, which is what happens without a hook. It runs on the request's thread, one
    /// call at a time; it may free, and allocate a little, from the reserves; a panic ends there and lets the request fail.
    ///
    /// It is not called for requests that may not wait, of an order above 3, with NORETRY, RETRY_MAYFAIL or THISNODE, without
    /// FS, or for zones below NORMAL.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use gfp::{Allocator, Gfp, Pages, reclaim::OomAction};
    ///
    /// static CACHE: Mutex<Vec<Pages>> = Mutex::new(Vec::new());
    /// let allocator = Allocator::builder(16 << 20)
    ///     .on_oom(|report| {
    ///         eprintln!("{report}");
    ///         let page = CACHE.lock().expect("no panic").pop();
    ///         if page.is_some() { OomAction::Freed } else { OomAction::Fail }
    ///     })
    ///     .build()?;
    /// CACHE.lock()?.push(allocator.alloc_page(Gfp::KERNEL)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "oom_lock")]
    pub fn on_oom(mut self, hook: impl Fn(&OomReport) -> OomAction + Send + Sync + 'static) -> Self {
        self.hooks.on_oom = Some(Box::new(hook));
        self
    }

    /// Installs what is called when a request fails, at most once in 10 s, with what was asked and what memory there is. Not called for requests
    /// with NOWARN, [`GFP_NOWAIT`](crate::Gfp::NOWAIT) among them. It runs on the request's thread; it may free, and allocate a little, from the
    /// reserves; a panic ends there.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).on_alloc_failure(|failure| eprintln!("{failure}")).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_alloc_failure(mut self, callback: impl Fn(&AllocFailure) + Send + Sync + 'static) -> Self {
        self.hooks.on_alloc_failure = Some(Box::new(callback));
        self
    }

    /// Installs what is called with everything that a debug mode finds. It may abort the process.
    ///
    /// ```
    /// # use gfp::{Allocator, DebugModes};
    /// let allocator = Allocator::builder(64 << 20).debug(DebugModes::PAGE_POISON).on_finding(Box::new(|found| eprintln!("{found}"))).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_finding(mut self, hook: FindingHook) -> Self {
        self.on_finding = Some(hook);
        self
    }
}
