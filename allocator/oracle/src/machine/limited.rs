//! Requests that end early: with a deadline, or inside the scope of a token that is cancelled.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use gfp::{CancelScope, CancelToken, Gfp, Nid, Order, error::FailReason, sync::thread::spawn};

use super::{Machine, request::of_node};
use crate::call::{Limit, Mask, mask};

/// A token, and the thread's scope of it.
pub(super) type Entered = (CancelToken, CancelScope);

/// How long a request may go on that something ends at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes a request that may not fail, and cancels it if it is not over after a long time: then it fails, for another reason than is expected, and
/// nobody waits for ever.
fn watched<T>(request: impl FnOnce() -> T) -> T {
    let token = CancelToken::new();
    let (done, is_done) = channel::<()>();
    let cancelled = token.clone();
    let watcher = spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            cancelled.cancel();
        }
    });
    let scope = token.enter();
    let result = request();
    drop((scope, done));
    watcher.join().expect("it only waits");
    result
}

impl Limit {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Far => Some(Instant::now() + Duration::from_secs(3600)),
            Self::Past | Self::PastAndCancelled => Some(Instant::now()),
            Self::Unlimited | Self::Live | Self::Cancelled => None,
        }
    }

    fn token(self) -> Option<CancelToken> {
        let token = CancelToken::new();
        match self {
            Self::Unlimited | Self::Far | Self::Past => return None,
            Self::Live => {}
            Self::Cancelled | Self::PastAndCancelled => token.cancel(),
        }
        Some(token)
    }

    /// Returns what ends a request that has found nothing.
    fn stop(self) -> Option<FailReason> {
        match self {
            Self::Unlimited | Self::Far | Self::Live => None,
            Self::Past => Some(FailReason::DeadlineExceeded),
            Self::Cancelled | Self::PastAndCancelled => Some(FailReason::Cancelled),
        }
    }
}

impl Machine {
    pub(super) fn limited(
        &mut self,
        (node, allowed): (Option<usize>, Option<u8>),
        Mask(gfp): Mask,
        order: u8,
        limit: Limit,
        insists: bool,
    ) {
        // Of the thread's tokens and the request's own, one that is cancelled counts; then the deadline.
        let stop = self.model.stop().or(limit.stop());
        // One that may not fail ends, too, if something ends it.
        let insists = insists && stop.is_some() && gfp.contains(Gfp::DIRECT_RECLAIM);
        let gfp = if insists { gfp | Gfp::NOFAIL } else { gfp };
        let (deadline, token) = (limit.deadline(), limit.token());
        let names_nodes = node.is_some() || allowed.is_some();
        let target = if names_nodes {
            of_node(node, self.model.local, allowed.unwrap_or(u8::MAX))
        } else {
            Some(self.target_by_policy())
        };
        let expected = self.stopped_request(stop, self.model.scopes(), target, gfp, order);
        let request = self.allocator.request(gfp, Order::new(order));
        let request = node.map_or(request, |node| request.node(Nid::new(node)));
        let request = allowed.map_or(request, |allowed| request.nodemask(mask(allowed)));
        let request = deadline.map_or(request, |deadline| request.deadline(deadline));
        let request = token.as_ref().map_or(request, |token| request.cancel(token));
        let result = if insists { watched(|| request.alloc()) } else { request.alloc() };
        let pages = self.judge(&expected, result);
        self.coverage.count("limit", format!("{limit:?}"));
        if let (Some(reason), Ok(_)) = (stop, &expected.candidates) {
            let branch = match (&pages, reason) {
                (Some(_), _) => "served",
                (None, FailReason::Cancelled) => "cancelled",
                (None, _) => "late",
            };
            self.coverage.count("stopped", branch);
        }
        self.pages.extend(pages);
    }

    pub(super) fn enter_token(&mut self) {
        let token = CancelToken::new();
        let scope = token.enter();
        self.tokens.push((token, scope));
        self.model.tokens.push(false);
        self.check_stop();
    }

    pub(super) fn cancel_token(&mut self, token: usize) {
        if !self.tokens.is_empty() {
            let token = token % self.tokens.len();
            self.tokens[token].0.cancel();
            self.model.tokens[token] = true;
            self.check_stop();
        }
    }

    pub(super) fn leave_token(&mut self, token: usize) {
        if !self.tokens.is_empty() {
            let token = token % self.tokens.len();
            drop(self.tokens.swap_remove(token));
            self.model.tokens.swap_remove(token);
            self.check_stop();
        }
    }

    fn check_stop(&self) {
        let stop = gfp::gfp::current_stop();
        assert_eq!(stop, self.model.stop().map(|_| gfp::gfp::Stop::Cancelled));
    }
}
