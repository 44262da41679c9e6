//! Makes the calls, and compares what comes of them with the model.
//!
//! | file | idea |
//! |---|---|
//! | [`Machine`] | an allocator with what the caller holds of it; one call |
//! | `request` | requests for blocks |
//! | `bags` | caches that give memory back, and their shrinkers |
//! | `reclaimed` | whether shrinkers were called when they had to be |
//! | `limited` | requests with deadlines and tokens that cancel them |
//! | `dirty` | what callers say of a node's frames |
//! | `trim` | free memory that goes back to the system |
//! | `reserves` | what is kept for those who may not wait |
//! | `judge` | whether an answer is one that the model allows |
//! | `snapshot` | what zones say of themselves at one time |
//! | `served` | what a zone must do for a request then |
//! | `free` | every way to give a block back, and blocks with several owners |
//! | `fragments` | pieces of pages |
//! | `layouts` | blocks for layouts |
//! | `ranges` | pageblocks that are set aside, and contiguous frames |
//! | `check` | everything that the allocator says of itself |
//! | `worker` | another thread that does what it is told |

mod bags;
mod check;
mod dirty;
mod fragments;
mod free;
mod judge;
mod layouts;
mod limited;
mod ranges;
mod reclaimed;
mod request;
mod reserves;
mod served;
mod snapshot;
mod trim;
mod worker;

use core::ops::Range;
use std::collections::BTreeMap;

use gfp::{
    Allocator, ContigPages, ExactPages, Handle, Nid, PageFragCache, Pages, Pfn, PolicyScope, SharedPages,
    gfp::{MemallocScope, NoFsScope, NoIoScope},
};

use self::{bags::Bag, fragments::CACHES, layouts::Held, limited::Entered, worker::Worker};
use crate::{
    Stamped,
    call::{Call, Policy, Scope, mask},
    coverage::Coverage,
    model::{ALL_NODES, Model, PolicyModel},
    shapes::{NODES, Shape},
};

/// A scope of the thread; it ends with this.
#[derive(Debug)]
enum Guard {
    NoIo(NoIoScope),
    NoFs(NoFsScope),
    Memalloc(MemallocScope),
}

/// An allocator with what the caller holds of it.
pub(crate) struct Machine {
    handles: [Handle; 2],
    stranger: Handle,
    worker: Worker,
    allocator: Allocator,
    model: Model,
    pages: Vec<Pages>,
    kept: BTreeMap<u32, Pages>,
    exact: Vec<ExactPages>,
    contig: Vec<ContigPages>,
    shared: Vec<SharedPages>,
    caches: [PageFragCache; 3],
    fragments: Vec<Stamped>,
    layouts: Vec<Held>,
    policy: Option<PolicyScope>,
    guards: Vec<Guard>,
    tokens: Vec<Entered>,
    bags: Vec<Bag>,
    /// How many requests have reclaimed by themselves so far.
    reclaims: u64,
    stamps: u8,
    coverage: Coverage,
}

fn frames(pfn: Pfn, count: u32) -> Range<usize> {
    pfn.index()..pfn.index() + count as usize
}

fn frames_of(pages: &Pages) -> Range<usize> {
    frames(pages.pfn(), pages.order().frames())
}

/// Returns the alignment of which a call has the logarithm: one that every arena has, or one that none has.
const fn alignment(shift: u8) -> usize {
    1 << if shift <= 21 { shift } else { 40 }
}

impl Machine {
    pub(crate) fn new(shape: Shape) -> Self {
        let allocator = shape.build();
        let handle = |allocator: &Allocator| allocator.handle().expect("memory for a cache");
        Self {
            model: Model::new(&allocator, shape.dirty_limit),
            handles: [handle(&allocator), handle(&allocator)],
            stranger: handle(&shape.build()),
            worker: Worker::new(&allocator),
            caches: CACHES.map(|(gfp, node)| allocator.page_frag_cache(node.map(Nid::new), gfp)),
            allocator,
            pages: Vec::new(),
            kept: BTreeMap::new(),
            exact: Vec::new(),
            contig: Vec::new(),
            shared: Vec::new(),
            fragments: Vec::new(),
            layouts: Vec::new(),
            policy: None,
            guards: Vec::new(),
            tokens: Vec::new(),
            bags: Vec::new(),
            reclaims: 0,
            stamps: 0,
            coverage: Coverage::default(),
        }
    }

    /// Makes a call.
    pub(crate) fn run(&mut self, call: &Call) {
        self.coverage.begin();
        self.coverage.count("call", call.name());
        match *call {
            Call::Alloc { by, ask, gfp, order, times } => self.alloc(by, ask, gfp, order, times),
            Call::OnNode { node, gfp, order } => self.on_node(node, gfp, order),
            Call::FromNodes { node, allowed, gfp, order } => self.of_nodes(node, allowed, gfp, order),
            Call::OfPolicy { policy, gfp, order } => self.of_policy(policy, gfp, order),
            Call::Bulk { by, gfp, count } => self.bulk(by, gfp, usize::from(count)),
            Call::Exact { gfp, bytes } => self.exact(gfp, bytes),
            Call::NoLock { order } => self.nolock(order),
            Call::Keep { key, gfp, order } => self.keep(key, gfp, order),
            Call::Release { key, how } => self.release(key, how),
            Call::Free { position, how, times } => self.free_some(position, how, times),
            Call::FreeBulk { by, count } => self.free_bulk(by, usize::from(count)),
            Call::FreeExact { position } => self.free_exact(position),
            Call::Share { position } => self.share(position),
            Call::Get { position } => self.get(position),
            Call::Put { position } => self.put(position),
            Call::Frag { cache, bytes, align } => self.frag(cache % CACHES.len(), bytes, alignment(align)),
            Call::FreeFrag { position } => self.free_frag(position),
            Call::DrainFrags { cache } => self.drain_frags(cache % CACHES.len()),
            Call::Layout { gfp, bytes, align, zeroed } => self.layout(gfp, bytes, alignment(align), zeroed),
            Call::Resize { position, gfp, bytes, align, zeroed } => {
                self.resize(position, gfp, bytes, alignment(align), zeroed);
            }
            Call::FreeLayout { position } => self.free_layout(position),
            Call::Policy(policy) => self.set_policy(policy),
            Call::MemsAllowed(bits) => {
                self.allocator.set_mems_allowed(mask(bits));
                self.model.mems_allowed = bits & ALL_NODES;
                self.coverage.count("mems_allowed", if bits == 7 { "all" } else { "some" });
            }
            Call::Reclaiming { node, now } => {
                let node = node % NODES;
                self.allocator.set_reclaiming(Nid::new(node), now);
                let bit = 1 << node;
                self.model.reclaiming = self.model.reclaiming & !bit | if now { bit } else { 0 };
            }
            Call::Enter(scope) => self.enter(scope),
            Call::Leave { position } if !self.guards.is_empty() => {
                let position = position % self.guards.len();
                self.guards.swap_remove(position);
                self.model.scopes.swap_remove(position);
                self.check_scopes();
            }
            Call::Isolate { pageblock, count } => self.isolate(pageblock, count),
            Call::UndoIsolate { pageblock, count } => self.undo_isolate(pageblock, count),
            Call::Offline { pageblock, count } => self.offline(pageblock, count),
            Call::Online { pageblock, count } => self.online(pageblock, count),
            Call::Contig { start, frames } => self.contig_range(start, frames),
            Call::Cma { frames, align } => self.cma(frames, align),
            Call::FreeContig { position } => self.free_contig(position),
            Call::DrainAll => {
                let cached = self.allocator.conservation().cached();
                let drained = self.allocator.drain_all();
                assert_eq!((drained.frames, drained.skipped), (cached, 0));
            }
            Call::Request { node, allowed, gfp, order, limit, insists } => {
                self.limited((node, allowed), gfp, order, limit, insists);
            }
            Call::EnterToken => self.enter_token(),
            Call::Cancel { token } => self.cancel_token(token),
            Call::LeaveToken { token } => self.leave_token(token),
            Call::Dirty { node, counted, amount } => self.dirty(node, counted, amount),
            Call::Trim => self.trim(),
            Call::Age => self.age_and_report(),
            Call::Bag { manner, batch } => self.new_bag(manner, batch),
            Call::FillBag { bag, position, times } => self.fill_bag(bag, position, times),
            Call::DropBag { bag } => self.drop_bag(bag),
            Call::EndThread => self.worker = Worker::new(&self.allocator),
            Call::Check => self.check(),
            Call::Leave { .. } => {}
        }
        self.check_nobody_reclaimed();
    }

    fn set_policy(&mut self, policy: Policy) {
        // The old one first: a scope brings back the one before it.
        self.policy = None;
        self.model.policy = PolicyModel::default();
        let Some(wanted) = policy.policy() else { return };
        match self.allocator.mempolicy(wanted) {
            Ok(scope) => {
                assert!(policy.names_a_node());
                self.policy = Some(scope);
                self.model.policy = PolicyModel::new(policy);
            }
            Err(error) => assert!(!policy.names_a_node(), "{error}"),
        }
    }

    fn enter(&mut self, scope: Scope) {
        self.guards.push(match scope {
            Scope::NoIo => Guard::NoIo(NoIoScope::enter()),
            Scope::NoFs => Guard::NoFs(NoFsScope::enter()),
            Scope::Memalloc => Guard::Memalloc(MemallocScope::enter()),
        });
        self.model.scopes.push(scope);
        self.check_scopes();
    }

    fn check_scopes(&self) {
        assert_eq!(gfp::gfp::current_scopes(), self.model.scopes());
    }

    /// Returns what the next block is marked with.
    fn stamp(&mut self) -> u8 {
        self.stamps = self.stamps.wrapping_add(1);
        self.stamps
    }

    /// Gives everything back, and checks that the arena is as it was in the beginning.
    pub(crate) fn finish(mut self, fresh: &Allocator) -> Coverage {
        while !self.bags.is_empty() {
            self.drop_bag(0);
        }
        while !self.fragments.is_empty() {
            self.free_frag(0);
        }
        while !self.layouts.is_empty() {
            self.free_layout(0);
        }
        (0..self.caches.len()).for_each(|cache| self.drain_frags(cache));
        self.check();
        self.pages.clear();
        self.kept.clear();
        self.exact.clear();
        self.contig.clear();
        self.shared.clear();
        (self.policy, self.guards, self.tokens) = (None, Vec::new(), Vec::new());
        self.allocator.set_mems_allowed(gfp::NodeMask::ALL);
        let all = Pfn::new(0)..Pfn::new(u32::try_from(self.model.frames()).expect("small"));
        self.allocator.undo_isolate(all).expect("whole pageblocks");
        for allocator in [&self.allocator, fresh] {
            for range in allocator.offline_ranges() {
                allocator.online_pages(range).expect("offline");
            }
        }
        self.give_up_highatomic();
        self.allocator.drain_all();
        let conservation = self.allocator.conservation();
        assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
        assert_eq!(self.allocator.buddyinfo().to_string(), fresh.buddyinfo().to_string());
        self.coverage
    }
}
