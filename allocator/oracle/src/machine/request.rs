//! Requests for blocks.

use gfp::{AllocError, Gfp, Nid, Order, Pages, error::FailReason, gfp::Scopes};

use super::{Machine, frames, frames_of, judge::Request};
use crate::{
    call::{Ask, By, Free, Mask, Policy, mask},
    model::{PolicyModel, Target},
    shapes::NODES,
};

/// Returns where a request goes that names a node; none for one that there is not.
pub(super) fn of_node(node: Option<usize>, local: usize, allowed: u8) -> Option<Target> {
    let node = node.unwrap_or(local);
    (node < NODES).then(|| Target::within(node, allowed))
}

impl Machine {
    /// Notes what the allocator knows before a request that somebody makes where their policy says.
    fn request_of(&mut self, by: By, gfp: Gfp, order: u8) -> Request {
        match by {
            By::Thread => {
                let target = Target::node(self.model.local);
                let request = self.stopped_request(None, Scopes::empty(), Some(target), gfp, order);
                Request { worker: true, ..request }
            }
            _ => self.request_by_policy(gfp, order),
        }
    }

    pub(super) fn alloc(&mut self, by: By, ask: Ask, Mask(gfp): Mask, order: u8, times: u8) {
        let order = if matches!(ask, Ask::Page | Ask::ZeroedPage) { 0 } else { order };
        let zeroed = matches!(ask, Ask::Zeroed | Ask::ZeroedPage);
        // Only the allocator has these.
        let (by, wanted) = if zeroed { (By::Allocator, gfp | Gfp::ZERO) } else { (by, gfp) };
        self.coverage.count("by", format!("{by:?}"));
        for _ in 0..times {
            let request = self.request_of(by, wanted, order);
            let result = self.ask(by, ask, gfp, Order::new(order));
            let Some(pages) = self.judge(&request, result) else { break };
            self.pages.push(pages);
        }
    }

    fn ask(&self, by: By, ask: Ask, gfp: Gfp, order: Order) -> Result<Pages, AllocError> {
        let [handle, other] = &self.handles;
        match (ask, by) {
            (Ask::Zeroed, _) => {
                self.allocator.alloc_zeroed_pages(gfp, order).map(gfp::ZeroedPages::into_pages)
            }
            (Ask::ZeroedPage, _) => self.allocator.get_zeroed_page(gfp).map(gfp::ZeroedPages::into_pages),
            (Ask::Pages, By::Allocator) => self.allocator.alloc_pages(gfp, order),
            (Ask::Pages, By::Handle) => handle.alloc_pages(gfp, order),
            (Ask::Pages, By::OtherHandle) => other.alloc_pages(gfp, order),
            (Ask::Pages, By::Thread) => self.worker.run(move |handle| handle.alloc_pages(gfp, order)),
            (Ask::Page, By::Allocator) => self.allocator.alloc_page(gfp),
            (Ask::Page, By::Handle) => handle.alloc_page(gfp),
            (Ask::Page, By::OtherHandle) => other.alloc_page(gfp),
            (Ask::Page, By::Thread) => self.worker.run(move |handle| handle.alloc_page(gfp)),
        }
    }

    pub(super) fn on_node(&mut self, node: Option<usize>, Mask(gfp): Mask, order: u8) {
        let target = of_node(node, self.model.local, u8::MAX);
        let request = self.request(target, gfp, order);
        let result = self.allocator.alloc_pages_node(node.map(Nid::new), gfp, Order::new(order));
        let pages = self.judge(&request, result);
        self.pages.extend(pages);
    }

    pub(super) fn of_nodes(&mut self, node: Option<usize>, allowed: u8, Mask(gfp): Mask, order: u8) {
        let target = of_node(node, self.model.local, allowed);
        let request = self.request(target, gfp, order);
        let start = node.map(Nid::new);
        let result = self.allocator.alloc_pages_nodemask(start, mask(allowed), gfp, Order::new(order));
        let pages = self.judge(&request, result);
        self.pages.extend(pages);
    }

    pub(super) fn of_policy(&mut self, policy: Policy, Mask(gfp): Mask, order: u8) {
        let Some(wanted) = policy.policy() else { return };
        let mut state = match self.allocator.request_policy(wanted) {
            Ok(state) => state,
            Err(error) => return assert!(!policy.names_a_node(), "{error}"),
        };
        assert!(policy.names_a_node());
        let mut model = PolicyModel::new(policy);
        // Three, so that turns go on.
        for _ in 0..3 {
            let request = self.request(Some(model.next(self.model.local)), gfp, order);
            let result = self.allocator.alloc_pages_mpol(&mut state, gfp, Order::new(order));
            let pages = self.judge(&request, result);
            self.pages.extend(pages);
        }
    }

    pub(super) fn bulk(&mut self, by: By, Mask(gfp): Mask, count: usize) {
        let first = self.request_of(by, gfp, 0).first_of_many();
        let [handle, other] = &self.handles;
        let mut slots: Vec<Option<Pages>> = (0..count).map(|_| None).collect();
        let filled = match by {
            By::Allocator => self.allocator.alloc_pages_bulk(gfp, &mut slots),
            By::Handle => handle.alloc_pages_bulk(gfp, &mut slots),
            By::OtherHandle => other.alloc_pages_bulk(gfp, &mut slots),
            By::Thread => {
                let mut theirs = slots;
                let filled;
                (filled, slots) = self.worker.run(move |handle| {
                    let filled = handle.alloc_pages_bulk(gfp, &mut theirs);
                    (filled, theirs)
                });
                filled
            }
        };
        assert_eq!(slots.iter().flatten().count(), filled);
        self.coverage.count("bulk", if filled == count { "all" } else { "some" });
        // Those that are to be cleared come in pieces, of which each is tried.
        let piece = if gfp.contains(Gfp::ZERO) { 64 } else { count };
        let mut rest = slots.into_iter().peekable();
        let mut first = Some(first);
        while rest.peek().is_some() {
            self.bulk_piece(by, gfp, first.take(), rest.by_ref().take(piece).collect());
        }
    }

    /// Judges frames that were asked for in one go, of which the first that could not be had is the last that was tried; of the `first`,
    /// what the allocator knew before it.
    fn bulk_piece(&mut self, by: By, gfp: Gfp, first: Option<Request>, piece: Vec<Option<Pages>>) {
        let (mut places, mut first) = (piece.into_iter(), first);
        for place in places.by_ref() {
            let request = first.take().unwrap_or_else(|| self.request_of(by, gfp, 0).in_between());
            match place {
                Some(mut pages) => {
                    self.inspect(&mut pages, &request);
                    self.check_served(&request, frames_of(&pages));
                    self.pages.push(pages);
                }
                None => {
                    self.check_refused(&request, None);
                    break;
                }
            }
        }
        assert!(places.all(|place| place.is_none()), "the first places are filled first");
    }

    pub(super) fn exact(&mut self, Mask(gfp): Mask, bytes: usize) {
        let count = bytes.div_ceil(4096).max(1);
        let order = u8::try_from(count.next_power_of_two().ilog2()).expect("small");
        let request = self.request_by_policy(gfp, order);
        match self.allocator.alloc_pages_exact(bytes, gfp) {
            Ok(run) => {
                assert_eq!((run.frames() as usize, run.len()), (count, count * 4096));
                let first = self.allocator.pfn_to_virt(run.pfn()).expect("it lies in the arena");
                assert_eq!(run.as_ptr(), first.as_ptr().cast());
                self.check_served(&request, frames(run.pfn(), run.frames()));
                self.exact.push(run);
                self.coverage.count("exact", "served");
            }
            Err(error) => {
                self.check_refused(&request, Some(error));
                self.coverage.count("exact", "refused");
            }
        }
    }

    pub(super) fn nolock(&mut self, order: u8) {
        let (gfp, scopes) = (Gfp::NOWARN | Gfp::NOMEMALLOC, self.model.scopes());
        let target = self.target_by_policy();
        // It ends when it has found nothing without waiting, whatever else would end it.
        let request = self.stopped_request(Some(FailReason::WouldBlock), scopes, Some(target), gfp, order);
        let result = self.allocator.alloc_pages_nolock(Order::new(order));
        let pages = self.judge(&request, result);
        self.coverage.count("nolock", if pages.is_some() { "served" } else { "refused" });
        self.pages.extend(pages);
    }

    pub(super) fn keep(&mut self, key: u32, Mask(gfp): Mask, order: u8) {
        self.release(key, Free::Drop);
        let request = self.request_by_policy(gfp, order);
        let result = self.allocator.alloc_pages(gfp, Order::new(order));
        if let Some(pages) = self.judge(&request, result) {
            self.kept.insert(key, pages);
        }
    }

    pub(super) fn release(&mut self, key: u32, how: Free) {
        if let Some(pages) = self.kept.remove(&key) {
            self.free(pages, how);
        }
    }
}
