//! A request with more to say than a mask and an order.

use std::time::Instant;

use super::{Allocator, Pages};
use crate::{
    error::AllocError,
    frame::{Nid, Order},
    gfp::{CancelToken, DeadlineScope, Gfp},
    node::NodeMask,
};

/// A request that is put together piece by piece.
#[derive(Clone, Copy, Debug)]
#[must_use = "`alloc` makes the request"]
pub struct Request<'a> {
    allocator: &'a Allocator,
    gfp: Gfp,
    order: Order,
    node: Option<Nid>,
    nodemask: Option<NodeMask>,
    deadline: Option<Instant>,
    cancel: Option<&'a CancelToken>,
}

impl Allocator {
    /// Begins a request for a block of 2^order frames, which may name nodes, a deadline and a token that cancels it.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use gfp::{Allocator, CancelToken, Gfp, Order};
    ///
    /// let allocator = Allocator::builder(64 << 20).build()?;
    /// let token = CancelToken::new();
    /// let deadline = Instant::now() + Duration::from_millis(100);
    /// // It may not fail for want of memory, but it ends.
    /// let request = allocator.request(Gfp::KERNEL | Gfp::NOFAIL, Order::ZERO);
    /// let page = request.deadline(deadline).cancel(&token).alloc()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn request(&self, gfp: Gfp, order: Order) -> Request<'_> {
        Request { allocator: self, gfp, order, node: None, nodemask: None, deadline: None, cancel: None }
    }
}

impl<'a> Request<'a> {
    /// Begins at a node, as [`alloc_pages_node`](Allocator::alloc_pages_node) does.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let page = allocator.request(Gfp::KERNEL, Order::ZERO).node(Nid::new(0)).alloc()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn node(self, node: Nid) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Names the nodes that may serve it, as [`alloc_pages_nodemask`](Allocator::alloc_pages_nodemask) does.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, NodeMask, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let allowed = NodeMask::of(Nid::new(0));
    /// let page = allocator.request(Gfp::KERNEL, Order::ZERO).nodemask(allowed).alloc()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn nodemask(self, allowed: NodeMask) -> Self {
        Self { nodemask: Some(allowed), ..self }
    }

    /// Ends the request at a moment, if nothing was found before. What can be had without waiting is had also after it.
    ///
    /// ```
    /// use std::time::Instant;
    /// use gfp::{Allocator, Gfp, Order, error::FailReason};
    ///
    /// let allocator = Allocator::builder(64 << 20).build()?;
    /// let request = allocator.request(Gfp::KERNEL | Gfp::NOFAIL, Order::new(10)).deadline(Instant::now());
    /// let mut held = Vec::new();
    /// let error = loop {
    ///     match request.alloc() {
    ///         Ok(block) => held.push(block),
    ///         Err(error) => break error,
    ///     }
    /// };
    /// assert_eq!(error.reason(), FailReason::DeadlineExceeded);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Ends the request when the token is cancelled, as if the thread were [inside its scope](CancelToken::enter).
    ///
    /// ```
    /// # use gfp::{Allocator, CancelToken, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let token = CancelToken::new();
    /// let page = allocator.request(Gfp::KERNEL | Gfp::NOFAIL, Order::ZERO).cancel(&token).alloc()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn cancel(self, token: &'a CancelToken) -> Self {
        Self { cancel: Some(token), ..self }
    }

    /// Makes the request, through the calling thread's cache where no nodes are named.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let block = allocator.request(Gfp::KERNEL, Order::new(2)).alloc()?;
    /// assert_eq!(block.order(), Order::new(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Allocator::alloc_pages`]; [`DeadlineExceeded`](crate::error::FailReason::DeadlineExceeded);
    /// [`Cancelled`](crate::error::FailReason::Cancelled).
    #[track_caller]
    pub fn alloc(self) -> Result<Pages, AllocError> {
        let Self { allocator, gfp, order, node, nodemask, deadline, cancel } = self;
        let _limits = (cancel.map(CancelToken::enter), deadline.map(DeadlineScope::enter));
        if node.is_none() && nodemask.is_none() {
            return allocator.alloc_pages(gfp, order);
        }
        allocator.alloc_pages_nodemask(node, nodemask.unwrap_or(NodeMask::ALL), gfp, order)
    }
}
