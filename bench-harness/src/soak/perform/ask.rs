//! Requests.

use std::{alloc::Layout, mem};

use gfp::{
    AllocError, Gfp, MemPolicy, NodeMask, Order, PageFragCache, Pages, Pfn,
    gfp::{MemallocScope, NoFsScope, NoIoScope},
};

use super::super::{
    grounds::{CMA, Grounds},
    holding::{Block, Holding},
    mix,
    owners::Joint,
    seat::{NamedPolicy, Seat},
    stamp,
    violation::Problem,
    worker::Worker,
};
use crate::workload::Rng;

/// Returns the nodes that may serve a request in the end: those who may use reserves, and atomic ones, get what they need from other
/// nodes than those that were named, but for THISNODE (`ac->nodemask = NULL` in the kernel's slow path).
fn within_reach(gfp: Gfp, allowed: NodeMask) -> NodeMask {
    let reserves = gfp.contains(Gfp::MEMALLOC) && !gfp.contains(Gfp::NOMEMALLOC);
    let atomic = gfp.contains(Gfp::HIGH) && !gfp.contains(Gfp::DIRECT_RECLAIM);
    if (reserves || atomic) && !gfp.contains(Gfp::THISNODE) { NodeMask::ALL } else { allowed }
}

impl Worker {
    /// Checks what a request got, and holds it.
    pub(super) fn got(
        &mut self,
        grounds: &Grounds,
        asked: (Gfp, Order),
        allowed: NodeMask,
        result: Result<Pages, AllocError>,
    ) -> Result<bool, Problem> {
        let Ok(pages) = result else { return Ok(false) };
        let (gfp, order) = asked;
        let at = pages.pfn();
        if pages.order() != order || !at.is_aligned(order) {
            return Err(Problem::at(at, format!("{pages:?} is the answer to a request of order {order}")));
        }
        let allowed = within_reach(gfp, allowed);
        let node = grounds.allocator.node_of(&pages);
        if !allowed.contains(node) {
            return Err(Problem::at(at, format!("lies on node {node}, of {allowed} were allowed ({gfp:?})")));
        }
        if gfp.contains(Gfp::ZERO) {
            // SAFETY: the mask says that it is zeroed.
            unsafe { stamp::check_zeroes(pages.bytes()) }.map_err(|(byte, found)| {
                Problem::at(at, format!("is not zeroed: {found:?} at byte {byte}"))
            })?;
        }
        self.hold(grounds, Block::Pages(pages)).map(|()| true)
    }

    fn hold(&mut self, grounds: &Grounds, block: Block) -> Result<(), Problem> {
        self.holdings.push(Holding::new(&grounds.owners, block, self.stamp())?);
        Ok(())
    }

    /// Returns the nodes that who names none is bound to, wherever the thread runs. Who may not wait asks without a policy while the
    /// thread's cache is drained.
    pub(super) fn bound(&self, seat: &mut Seat<'_>, gfp: Gfp) -> NodeMask {
        match self.policy {
            _ if !gfp.contains(Gfp::DIRECT_RECLAIM) => NodeMask::ALL,
            Some(NamedPolicy { policy: MemPolicy::Bind(nodes), .. }) if seat.enforce(self.policy) => nodes,
            _ => NodeMask::ALL,
        }
    }

    pub(super) fn alloc(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<bool, Problem> {
        let asked @ (gfp, order) = (mix::mask(rng), mix::order(rng));
        let allowed = self.bound(seat, gfp);
        let (way, allocator) = (rng.below(16), seat.allocator());
        // Inside of the scope all masks are like this.
        let asked = if way == 2 { (gfp | Gfp::MEMALLOC, order) } else { asked };
        let result = match (way, seat.handle()) {
            (0, _) => {
                let _scope = NoIoScope::enter();
                allocator.alloc_pages(gfp, order)
            }
            (1, _) => {
                let _scope = NoFsScope::enter();
                allocator.alloc_pages(gfp, order)
            }
            (2, _) => {
                let _scope = MemallocScope::enter();
                allocator.alloc_pages(gfp, order)
            }
            (3..8, _) | (_, None) => allocator.alloc_pages(gfp, order),
            (_, Some(handle)) => handle.alloc_pages(gfp, order),
        };
        self.got(grounds, asked, allowed, result)
    }

    /// Asks as an interrupt handler does; who is served when memory is short makes its pageblock a reserve.
    pub(super) fn alloc_atomic(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let order = Order::new(u8::try_from(1 + rng.below(4)).expect("small"));
        let result = grounds.allocator.alloc_pages(Gfp::ATOMIC, order);
        if result.is_ok() {
            grounds.note_highatomic();
        }
        self.got(grounds, (Gfp::ATOMIC, order), NodeMask::ALL, result)
    }

    pub(super) fn alloc_on_node(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let node = mix::node(rng, grounds.config.nodes);
        let (gfp, order) = (mix::mask(rng), mix::order(rng));
        let (gfp, allowed) = match rng.below(3) {
            0 => (gfp | Gfp::THISNODE, NodeMask::of(node)),
            _ => (gfp, NodeMask::ALL),
        };
        let result = grounds.allocator.alloc_pages_node(Some(node), gfp, order);
        self.got(grounds, (gfp, order), allowed, result)
    }

    pub(super) fn alloc_from_nodes(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let nodes = grounds.config.nodes;
        let (node, allowed) = (mix::node(rng, nodes), mix::nodes(rng, nodes));
        let node = (rng.below(2) == 0).then_some(node);
        let (gfp, order) = (mix::mask(rng), mix::order(rng));
        let result = grounds.allocator.alloc_pages_nodemask(node, allowed, gfp, order);
        self.got(grounds, (gfp, order), allowed, result)
    }

    pub(super) fn alloc_of_policy(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let policy = mix::policy(rng, grounds.config.nodes).unwrap_or(MemPolicy::Local);
        let (gfp, order) = (mix::mask(rng), mix::order(rng));
        let mut state =
            grounds.allocator.request_policy(policy).map_err(|error| Problem::new(error.to_string()))?;
        let result = grounds.allocator.alloc_pages_mpol(&mut state, gfp, order);
        let allowed = if let MemPolicy::Bind(nodes) = policy { nodes } else { NodeMask::ALL };
        self.got(grounds, (gfp, order), allowed, result)
    }

    pub(super) fn alloc_zeroed(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let (gfp, order) = (mix::mask(rng), mix::order(rng));
        let result = match order {
            Order::ZERO => grounds.allocator.get_zeroed_page(gfp),
            _ => grounds.allocator.alloc_zeroed_pages(gfp, order),
        };
        let result = result.map(gfp::ZeroedPages::into_pages);
        self.got(grounds, (gfp | Gfp::ZERO, order), NodeMask::ALL, result)
    }

    pub(super) fn alloc_nolock(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let order = mix::order(rng);
        let result = grounds.allocator.alloc_pages_nolock(order);
        self.got(grounds, (Gfp::empty(), order), NodeMask::ALL, result)
    }

    pub(super) fn alloc_bulk(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<bool, Problem> {
        let gfp = mix::mask(rng);
        let mut places: Vec<Option<Pages>> = (0..1 + rng.below(128)).map(|_| None).collect();
        let filled = match (rng.below(2), seat.handle()) {
            (0, Some(handle)) => handle.alloc_pages_bulk(gfp, &mut places),
            _ => seat.allocator().alloc_pages_bulk(gfp, &mut places),
        };
        let got: Vec<_> = places.into_iter().flatten().collect();
        if got.len() != filled {
            return Err(Problem::new(format!("{filled} places are said to be filled, {} are", got.len())));
        }
        for pages in got {
            self.got(grounds, (gfp, Order::ZERO), NodeMask::ALL, Ok(pages))?;
        }
        Ok(filled > 0)
    }

    pub(super) fn alloc_exact(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let bytes = 1 + rng.below(80 * 4096);
        let Ok(run) = grounds.allocator.alloc_pages_exact(bytes, mix::mask(rng)) else { return Ok(false) };
        if run.frames() as usize != bytes.div_ceil(4096) {
            return Err(Problem::at(run.pfn(), format!("begins {} frames for {bytes} bytes", run.frames())));
        }
        self.hold(grounds, Block::Exact(run)).map(|()| true)
    }

    /// Takes a fragment. Its page belongs to the fragments of it, and to the cache as long as that takes some from it.
    pub(super) fn alloc_fragment(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let bytes = match rng.below(64) {
            0 => 4096 + rng.below(PageFragCache::MAX_BYTES - 4096),
            _ => 16 + rng.below(2000),
        };
        let layout = Layout::from_size_align(bytes, 1 << rng.below(8)).expect("small");
        let (gfp, nodes) = (mix::mask(rng), grounds.config.nodes);
        let node = (rng.below(2) == 0).then(|| mix::node(rng, nodes));
        if rng.below(128) == 0 {
            self.leave_fragments(grounds);
            self.fragments = None;
        }
        let cache = self.fragments.get_or_insert_with(|| grounds.allocator.page_frag_cache(node, gfp));
        // The cache leaves its page when it likes, and with its last owner the page is free.
        let page = self.fragment_page.take().inspect(|page| page.leave(&grounds.owners));
        let Ok(fragment) = cache.alloc_align(layout) else {
            cache.drain();
            return Ok(false);
        };
        let (pfn, order) = fragment.page();
        let same = page.filter(|page| page.claim().start() == pfn && page.join());
        let page = match same {
            Some(page) => page,
            None => match grounds.owners.claim(pfn, order.frames()) {
                Ok(claim) => Joint::new(claim).into(),
                Err(problem) => {
                    mem::forget(fragment);
                    return Err(problem);
                }
            },
        };
        // The fragment's own.
        page.join();
        self.holdings.push(Holding::fragment(fragment, page.clone(), self.stamp()));
        self.fragment_page = Some(page);
        Ok(true)
    }

    pub(super) fn alloc_contig(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let mut number = |below: u32| u32::try_from(rng.below(below as usize)).expect("below that");
        let (anywhere, frames, search) = (number(grounds.frames()), 1 + number(700), number(4));
        // Mostly where there is a chance.
        let start = match search {
            0 => Pfn::new(anywhere),
            _ => match grounds.owners.unowned(anywhere & !63, 64, frames.next_multiple_of(64)) {
                Some(start) => start,
                None => return Ok(false),
            },
        };
        match grounds.allocator.alloc_contig_range(start..start.add(frames)) {
            Ok(run) => self.hold(grounds, Block::Contig(run)).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    pub(super) fn alloc_cma(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let frames = u32::try_from(1 + rng.below(400)).expect("small");
        let align = Order::new(u8::try_from(rng.below(6)).expect("small"));
        match grounds.allocator.cma_alloc(CMA, frames, align) {
            Ok(run) => self.hold(grounds, Block::Contig(run)).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}
