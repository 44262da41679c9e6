//! A thread: what it has, and how it makes calls.

use gfp::{
    AllocError, Allocator, Gfp, Handle, MemPolicy, Nid, NodeMask, Order, PageFragCache, Pages, Pfn,
    PolicyScope, RangeError,
    error::{FailReason, RangeProblem},
    gfp::{MemallocScope, NoFsScope},
    sync::thread_local,
};
use shuttle::rand::{Rng, thread_rng};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use crate::call::Call;
use crate::machine::{Common, End, PAGEBLOCK_BYTES, Room};
use crate::stamps::{Fragment, Held, Owned};

/// What requests ask for.
const MASKS: [Gfp; 8] = [
    Gfp::KERNEL,
    Gfp::KERNEL,
    Gfp::KERNEL.union(Gfp::MOVABLE),
    Gfp::HIGHUSER_MOVABLE,
    Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    Gfp::KERNEL.union(Gfp::ZERO),
    Gfp::ATOMIC,
    Gfp::NOWAIT,
];
/// As programs ask for them: mostly small.
const ORDERS: [u8; 12] = [0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 7, 9];
/// The name of the area for contiguous requests, where there is one.
pub(crate) const AREA: &str = "area";

thread_local! {
    /// What the end of the thread frees, before or after the end of its cache.
    static LEFT: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

fn below(end: usize) -> usize {
    thread_rng().gen_range(0..end)
}

fn pick<T: Copy>(choices: &[T]) -> T {
    choices[below(choices.len())]
}

fn one_in(count: usize) -> bool {
    below(count) == 0
}

fn mask() -> Gfp {
    pick(&MASKS)
}

fn order() -> Order {
    Order::new(pick(&ORDERS))
}

/// What ends by itself when it is dropped.
enum Scope {
    Policy(#[expect(dead_code, reason = "its drop matters")] PolicyScope),
    NoFs(NoFsScope),
    Memalloc(MemallocScope),
}

/// A thread's ways to the allocator.
struct Access {
    handle: Handle,
    fragments: PageFragCache,
    allocator: Allocator,
}

/// One thread of a schedule.
pub(crate) struct Worker {
    access: Option<Access>,
    held: Vec<Held>,
    scopes: Vec<Scope>,
    common: Arc<Common>,
}

impl Worker {
    /// Begins a thread that knows the allocator.
    pub(crate) fn new(allocator: Allocator, common: Arc<Common>) -> Self {
        let access = Access {
            handle: allocator.handle().expect("a cache"),
            fragments: allocator.page_frag_cache(None, Gfp::KERNEL),
            allocator,
        };
        Self { access: Some(access), held: Vec::new(), scopes: Vec::new(), common }
    }

    /// Makes calls, and gives all back in some way.
    pub(crate) fn run(mut self) {
        let total = self.common.scenario.mix.iter().map(|(weight, _)| weight).sum();
        for _ in 0..self.common.scenario.calls {
            let mut at = thread_rng().gen_range(0..total);
            let (_, call) = self
                .common
                .scenario
                .mix
                .iter()
                .find(|(weight, _)| {
                    let found = at < *weight;
                    at = at.saturating_sub(*weight);
                    found
                })
                .expect("it is below the total");
            self.call(*call);
            self.held.iter_mut().for_each(Held::check);
        }
        for held in std::mem::take(&mut self.held) {
            match below(4) {
                0 => self.leave(held),
                1 => leave_to_end(held),
                _ => drop(held),
            }
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Alloc => self.ask(|access| match below(2) {
                0 => access.handle.alloc_pages(mask(), order()),
                _ => access.allocator.alloc_pages(mask(), order()),
            }),
            Call::AllocFrame => self.ask(|access| access.handle.alloc_page(Gfp::KERNEL)),
            Call::AllocFrom => self.ask(alloc_from),
            Call::AllocBulk => self.alloc_bulk(1 + below(20)),
            Call::AllocExact => self.alloc_exact(1 + below(20)),
            Call::AllocNolock => self.ask(|access| access.allocator.alloc_pages_nolock(order())),
            Call::AllocContig => self.alloc_contig(),
            Call::AllocFragment => self.alloc_fragment(),
            Call::Free => {
                if let Some(held) = self.any() {
                    self.free(held);
                }
            }
            Call::FreeNolock => match (self.any(), &self.access) {
                (Some(Held::Pages(pages)), Some(access)) => {
                    access.allocator.free_pages_nolock(pages.into_inner())
                }
                (other, _) => self.held.extend(other),
            },
            Call::FreeBulk => self.free_bulk(),
            Call::Parts => self.parts(),
            Call::Exhaust => self.exhaust(),
            Call::Share => self.share(),
            Call::Leave => {
                if let Some(held) = self.any() {
                    self.leave(held);
                }
            }
            Call::Fetch => {
                let fetched =
                    self.mailbox(|left| (!left.is_empty()).then(|| left.swap_remove(below(left.len()))));
                self.held.extend(fetched);
            }
            Call::LeaveToEnd => {
                if let Some(held) = self.any() {
                    leave_to_end(held);
                }
            }
            Call::Drain => {
                if let Some(Access { allocator, .. }) = &self.access {
                    match below(2) {
                        0 => drop(allocator.drain_all()),
                        _ => allocator.age(),
                    }
                }
            }
            Call::Isolate => self.isolate(),
            Call::Offline => self.offline(),
            Call::Trim => {
                if let Some(Access { allocator, .. }) = &self.access {
                    assert_eq!(allocator.trim().refusal, None, "nothing is refused here");
                }
            }
            Call::Nodes => self.nodes(),
            Call::Scope => self.scope(),
            Call::Report => {
                if let Some(Access { allocator, .. }) = &self.access {
                    report(allocator);
                }
            }
            Call::LetGo => {
                if self.common.scenario.end == End::Early {
                    self.scopes.clear();
                    self.access = None;
                }
            }
        }
    }

    fn mailbox<R>(&self, f: impl FnOnce(&mut Vec<Held>) -> R) -> R {
        f(&mut self.common.mailbox.lock().expect("no panic"))
    }

    fn leave(&self, held: Held) {
        self.mailbox(|left| left.push(held));
    }

    /// Takes something that this thread has.
    fn any(&mut self) -> Option<Held> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(below(self.held.len())))
    }

    fn own(&mut self, pages: Pages) {
        self.held.push(Held::Pages(Owned::new(&self.common.stamps, pages)));
    }

    fn ask(&mut self, request: impl FnOnce(&Access) -> Result<Pages, AllocError>) {
        match self.access.as_ref().map(request) {
            Some(Ok(pages)) => self.own(pages),
            Some(Err(error)) => self.refused(error),
            None => {}
        }
    }

    /// Checks that a request could be refused.
    fn refused(&self, error: AllocError) {
        let lacks = matches!(error.reason(), FailReason::NoMemory | FailReason::NoZone);
        let allowed = lacks && self.common.scenario.room == Room::Scarce;
        assert!(allowed || error.reason() == FailReason::WouldBlock, "{error}");
    }

    fn alloc_bulk(&mut self, count: usize) {
        let mut slots: Vec<Option<Pages>> = (0..count).map(|_| None).collect();
        if let Some(access) = &self.access {
            let filled = match below(2) {
                0 => access.handle.alloc_pages_bulk(mask(), &mut slots),
                _ => access.allocator.alloc_pages_bulk(mask(), &mut slots),
            };
            assert_eq!(slots.iter().flatten().count(), filled);
            assert!(filled == count || self.common.scenario.room == Room::Scarce, "{filled} of {count}");
        }
        slots.into_iter().flatten().for_each(|pages| self.own(pages));
    }

    fn alloc_exact(&mut self, frames: usize) {
        let Some(access) = &self.access else { return };
        match access.allocator.alloc_pages_exact(frames * 4096, mask()) {
            Ok(run) => self.held.push(Held::Exact(Owned::new(&self.common.stamps, run))),
            Err(error) => self.refused(error),
        }
    }

    fn alloc_contig(&mut self) {
        let Some(Access { allocator, .. }) = &self.access else { return };
        let frames = 1 + below(700);
        let found = if allocator.cma_areas().is_empty() || one_in(2) {
            let arena = usize::try_from(allocator.arena().frames()).expect("64 bits");
            let start = below(arena - frames);
            let result = allocator.alloc_contig_range(pfns(start..start + frames));
            result.map_err(|error| self.range_refused(&error)).ok()
        } else {
            allocator.cma_alloc(AREA, u32::try_from(frames.min(512)).expect("few"), order()).ok()
        };
        self.held.extend(found.map(|run| Held::Contig(Owned::new(&self.common.stamps, run))));
    }

    /// Checks that a range could be refused.
    fn range_refused(&self, error: &RangeError) {
        use RangeProblem::{Cma, FrameInUse, InUse, Isolated, Offline, Online, SeveralZones};
        let allowed = matches!(
            error.problem,
            Cma(_) | FrameInUse(_) | InUse(_) | Isolated(_) | Offline(_) | Online(_) | SeveralZones
        );
        assert!(allowed, "{error}");
    }

    fn alloc_fragment(&mut self) {
        let Some(access) = &self.access else { return };
        // Three of the larger ones use a page up.
        match access.fragments.alloc(pick(&[1, 100, 10_000, 10_000])) {
            Ok(fragment) => self.held.push(Held::Fragment(Fragment::new(fragment, thread_rng().r#gen()))),
            Err(error) => assert_eq!(self.common.scenario.room, Room::Scarce, "{error}"),
        }
        if one_in(4) {
            access.fragments.drain();
        }
    }

    fn free(&self, held: Held) {
        let (Held::Pages(pages), Some(access)) = (held, &self.access) else { return };
        let pages = pages.into_inner();
        match below(7) {
            0 => access.handle.free_pages(pages),
            1 => access.allocator.free_pages(pages),
            2 => access.allocator.free_pages_cold(pages),
            3 => access.allocator.free_pages_nolock(pages),
            4 => pages.split_page(drop),
            5 => {
                let parts = pages.into_raw_parts();
                // SAFETY: the parts are of a block that was taken apart, and are used up here.
                let freed = unsafe { access.allocator.free_raw(parts) };
                assert_eq!(freed, Ok(()), "nobody else has the parts");
            }
            _ => drop(pages),
        }
    }

    /// Makes a block numbers that all know, and frees one that this or another thread made.
    fn parts(&mut self) {
        let Some(Access { allocator, .. }) = &self.access else { return };
        match self.held.pop() {
            Some(Held::Pages(pages)) => self.common.parts.add(pages.into_inner().into_raw_parts()),
            other => self.held.extend(other),
        }
        self.common.parts.free_any(allocator, below);
    }

    fn free_bulk(&mut self) {
        let Some(access) = &self.access else { return };
        let mut slots = Vec::new();
        let mut others = Vec::new();
        for held in self.held.drain(..) {
            match held {
                Held::Pages(pages) => slots.push(Some(pages.into_inner())),
                other => others.push(other),
            }
        }
        match below(2) {
            0 => access.handle.free_pages_bulk(&mut slots),
            _ => access.allocator.free_pages_bulk(&mut slots),
        }
        assert!(slots.iter().all(Option::is_none));
        self.held = others;
    }

    fn exhaust(&mut self) {
        let Some(access) = &self.access else { return };
        let order = Order::new(pick(&[7, 9]));
        let mut got = Vec::new();
        let error = loop {
            match access.allocator.alloc_pages(pick(&[Gfp::KERNEL, Gfp::ATOMIC]), order) {
                Ok(pages) => got.push(Owned::new(&self.common.stamps, pages)),
                Err(error) => break error,
            }
        };
        self.refused(error);
    }

    fn share(&mut self) {
        match self.any() {
            Some(Held::Pages(pages)) => {
                let reference = pages.share();
                (0..below(3)).for_each(|_| self.leave(Held::Shared(reference.again())));
                self.held.push(Held::Shared(reference));
            }
            Some(Held::Shared(mut reference)) => match below(3) {
                0 => {
                    self.leave(Held::Shared(reference.again()));
                    self.held.push(Held::Shared(reference));
                }
                1 => {
                    reference.write();
                    self.held.push(Held::Shared(reference));
                }
                _ => self.held.push(match reference.unshare() {
                    Ok(pages) => Held::Pages(pages),
                    Err(reference) => Held::Shared(reference),
                }),
            },
            other => self.held.extend(other),
        }
    }

    /// Draws a range of pageblocks.
    fn pageblocks(&self) -> Range<Pfn> {
        let frames = PAGEBLOCK_BYTES / 4096;
        let count: usize = self.common.scenario.nodes.iter().sum();
        let start = below(count);
        pfns(start * frames..(start + 1 + below((count - start).min(2))) * frames)
    }

    fn isolate(&self) {
        let Some(Access { allocator, .. }) = &self.access else { return };
        let range = self.pageblocks();
        match below(3) {
            // Also what others isolate at this moment, and why ever they do.
            0 => allocator.undo_isolate(range).expect("whole pageblocks"),
            _ => drop(allocator.start_isolate(range).map_err(|error| self.range_refused(&error))),
        }
    }

    fn offline(&self) {
        let Some(Access { allocator, .. }) = &self.access else { return };
        let range = self.pageblocks();
        let result = match below(2) {
            0 => allocator.offline_pages(range).map(drop),
            _ => allocator.online_pages(range),
        };
        result.unwrap_or_else(|error| self.range_refused(&error));
    }

    fn nodes(&self) {
        let Some(Access { allocator, .. }) = &self.access else { return };
        let node = Nid::new(below(self.common.scenario.nodes.len()));
        match below(4) {
            0 => allocator.set_mems_allowed(NodeMask::of(node)),
            1 => allocator.set_mems_allowed(NodeMask::ALL),
            choice => allocator.set_reclaiming(node, choice == 2),
        }
    }

    fn scope(&mut self) {
        let Some(Access { allocator, .. }) = &self.access else { return };
        if self.scopes.len() > 1 {
            return self.scopes.clear();
        }
        let nodes = NodeMask::of(Nid::new(below(self.common.scenario.nodes.len())));
        self.scopes.push(match below(4) {
            0 => Scope::NoFs(NoFsScope::enter()),
            1 => Scope::Memalloc(MemallocScope::enter()),
            2 => Scope::Policy(allocator.mempolicy(MemPolicy::Bind(nodes)).expect("the node has memory")),
            _ => {
                Scope::Policy(allocator.mempolicy(MemPolicy::Interleave(nodes)).expect("the node has memory"))
            }
        });
    }
}

/// Asks for a block of certain nodes.
fn alloc_from(access: &Access) -> Result<Pages, AllocError> {
    let allocator = &access.allocator;
    let node = Nid::new(below(allocator.nodes().len()));
    match below(4) {
        0 => allocator.alloc_pages_node(Some(node), mask(), order()),
        1 => allocator.alloc_pages_node(Some(node), mask() | Gfp::THISNODE, order()),
        2 => allocator.alloc_pages_nodemask(None, NodeMask::of(node), mask(), order()),
        _ => {
            let mut policy =
                allocator.request_policy(MemPolicy::Preferred(node)).expect("the node has memory");
            allocator.alloc_pages_mpol(&mut policy, mask(), order())
        }
    }
}

/// Reads numbers; those that are exact only in silence are not compared.
fn report(allocator: &Allocator) {
    match below(8) {
        0 => drop(allocator.conservation()),
        1 => drop(allocator.zone_stats()),
        2 => drop(allocator.vmstat()),
        3 => drop(allocator.buddyinfo()),
        4 => drop(allocator.zoneinfo()),
        5 => drop(allocator.pagetypeinfo()),
        6 => drop(allocator.offline_ranges()),
        _ => drop(allocator.page_owner()),
    }
}

fn leave_to_end(held: Held) {
    LEFT.with(|left| left.borrow_mut().push(held));
}

fn pfns(range: Range<usize>) -> Range<Pfn> {
    let pfn = |at| Pfn::new(u32::try_from(at).expect("a small arena"));
    pfn(range.start)..pfn(range.end)
}
