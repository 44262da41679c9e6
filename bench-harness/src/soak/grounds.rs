//! The arena, what threads share, and what must be so when they pause.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use gfp::{
    Allocator, CancelToken, Conservation, Gfp, Maintain, NodeMask, Pfn, Spread, platform::Topology,
    stats::Buddyinfo,
};

use super::{
    Config,
    bags::Bag,
    holding::Holding,
    ledger::Ledger,
    mix::Mix,
    owners::Owners,
    violation::{Place, Problem, Watch},
};

/// Frames of a pageblock.
pub(super) const PAGEBLOCK: u32 = 512;

/// The area that is kept for contiguous requests.
pub(super) const CMA: &str = "soak";
const CMA_BYTES: usize = 4 << 20;

/// What all threads of a soak share.
#[derive(Debug)]
pub(super) struct Grounds {
    /// For shrinkers, which the allocator keeps.
    pub(super) myself: Weak<Self>,
    pub(super) config: Config,
    pub(super) mix: Mix,
    pub(super) allocator: Allocator,
    pub(super) owners: Owners,
    pub(super) watch: Arc<Watch>,
    /// As many as threads, and for all of them.
    pub(super) bags: Box<[Bag]>,
    pub(super) ledger: Ledger,
    /// For each thread, what cancels its requests.
    tokens: Box<[Mutex<CancelToken>]>,
    /// For each thread, what others have handed to it.
    mailboxes: Box<[Mutex<Vec<Holding>>]>,
    /// Held by who takes pageblocks offline or brings them online, so that it can look whether they are.
    offlining: Mutex<()>,
    tickets: AtomicU64,
    highatomic: AtomicU64,
    /// Free blocks when all is free.
    fresh: Buddyinfo,
    frames: u32,
}

impl Grounds {
    /// Builds the arena.
    ///
    /// # Errors
    /// It cannot be had, or is too small for its nodes.
    pub(super) fn build(config: &Config) -> Result<Arc<Self>> {
        let watch = Arc::new(Watch::default());
        let told = Arc::clone(&watch);
        // One CPU a node, so that this machine's are on several.
        let topology = Topology::synthetic(&format!("numa:{} core:1 pu:1", config.nodes))?;
        let mut builder = Allocator::builder(config.arena_bytes)
            .topology(topology)
            .nodes(Spread::AllNodes)
            .dma(4 << 20)
            .cma(CMA, CMA_BYTES)
            .maximum(config.arena_bytes + (4 << 20))
            .maintain(Maintain::ByHand)
            .on_misuse(Box::new(move |error| {
                told.report(Problem::new(error.to_string()).during(Place::current()));
            }));
        if config.seed % 2 == 1 {
            // Done with the ageing of caches, where a zone has 64 MiB to spare.
            builder = builder.report_free(Duration::from_millis(1));
        }
        let allocator = builder.build()?;
        let frames = u32::try_from(allocator.arena().frames())?;
        let mut grounds = Self {
            myself: Weak::new(),
            bags: (0..config.threads).map(|_| Bag::default()).collect(),
            ledger: Ledger::default(),
            tokens: (0..config.threads).map(|_| Mutex::default()).collect(),
            config: config.clone(),
            mix: Mix::new(config.seed),
            owners: Owners::new(frames as usize),
            watch,
            mailboxes: (0..config.threads).map(|_| Mutex::default()).collect(),
            offlining: Mutex::new(()),
            tickets: AtomicU64::new(0),
            highatomic: AtomicU64::new(0),
            fresh: Buddyinfo { zones: Vec::new() },
            frames,
            allocator,
        };
        grounds.put_right().map_err(|problem| anyhow::anyhow!(problem.what))?;
        grounds.fresh = grounds.allocator.buddyinfo();
        Ok(Arc::new_cyclic(|myself| Self { myself: myself.clone(), ..grounds }))
    }

    /// Returns the arena's frames, offline ones included.
    pub(super) const fn frames(&self) -> u32 {
        self.frames
    }

    /// Returns the next number in the order of all operations.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns how many numbers there were.
    pub(super) fn tickets(&self) -> u64 {
        self.tickets.load(Ordering::Relaxed)
    }

    /// Returns what cancels a thread's requests; another one where that has cancelled some and shall be renewed.
    pub(super) fn token_of(&self, thread: usize, renewed: bool) -> CancelToken {
        let mut token = self.tokens[thread].lock().unwrap_or_else(PoisonError::into_inner);
        if renewed && token.is_cancelled() {
            *token = CancelToken::new();
        }
        token.clone()
    }

    /// Notes how many frames are set aside for requests that cannot wait: often none are left at the next pause.
    pub(super) fn note_highatomic(&self) {
        let reserved = self.allocator.zone_stats().iter().map(|zone| zone.reserved_highatomic).sum();
        self.highatomic.fetch_max(reserved, Ordering::Relaxed);
    }

    /// Returns the most frames that were seen set aside for requests that cannot wait.
    pub(super) fn highatomic(&self) -> u64 {
        self.highatomic.load(Ordering::Relaxed)
    }

    pub(super) fn mailbox(&self, thread: usize) -> MutexGuard<'_, Vec<Holding>> {
        self.mailboxes[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn offlining(&self) -> MutexGuard<'_, ()> {
        self.offlining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks, while all threads pause, that every frame is where it must be.
    pub(super) fn check(&self) -> Result<(), Problem> {
        for thread in 0..self.mailboxes.len() {
            self.mailbox(thread).iter().try_for_each(|holding| holding.verify(&self.allocator))?;
        }
        for bag in &self.bags {
            bag.blocks().iter().try_for_each(|holding| holding.verify(&self.allocator))?;
        }
        self.ledger.check(&self.allocator)?;
        self.highatomic.fetch_max(self.check_highatomic()?, Ordering::Relaxed);
        // Takes the locks of all zones, and so frees what was left to their next holders.
        let free = self.allocator.buddyinfo();
        let conservation = self.allocator.conservation();
        self.check_free_areas(&free, &conservation)?;
        let owned = self.owners.count();
        let offline = self.allocator.offline_ranges();
        let offline_frames: u32 = offline.iter().map(|range| range.end.get() - range.start.get()).sum();
        let says = |what: String| Err(Problem::new(format!("{what}:\n{conservation}")));
        if !conservation.holds() {
            return says("free, cached, allocated and isolated frames are not all".into());
        }
        if conservation.allocated() != owned {
            return says(format!("{owned} frames are owned and {} allocated", conservation.allocated()));
        }
        if conservation.managed() != u64::from(self.frames - offline_frames) {
            return says(format!("{offline_frames} of {} frames are offline", self.frames));
        }
        if let Some(frame) = offline.iter().find_map(|range| self.owners.first_in(range.start, range.end)) {
            return Err(Problem::at(frame, "is offline and somebody owns it"));
        }
        match self.allocator.bad_pages() {
            0 => Ok(()),
            bad => says(format!("{bad} frames were found bad")),
        }
    }

    /// Returns the frames that are set aside for requests that cannot wait.
    fn check_highatomic(&self) -> Result<u64, Problem> {
        let zones = self.allocator.zone_stats();
        match zones.iter().find(|zone| zone.free_highatomic > zone.reserved_highatomic) {
            Some(zone) => Err(Problem::new(format!(
                "{} of {} frames that are set aside on node {} are free",
                zone.free_highatomic, zone.reserved_highatomic, zone.node
            ))),
            None => Ok(zones.iter().map(|zone| zone.reserved_highatomic).sum()),
        }
    }

    /// Checks that all ways to count free blocks give the same.
    fn check_free_areas(&self, free: &Buddyinfo, conservation: &Conservation) -> Result<(), Problem> {
        let by_type = self.allocator.pagetypeinfo();
        for (index, zone) in free.zones.iter().enumerate() {
            let frames: u64 = zone.nr_free.iter().enumerate().map(|(order, blocks)| blocks << order).sum();
            let types = &by_type.zones[index].types;
            let of_all_types = |order: usize| types.iter().map(|of_type| of_type.nr_free[order]).sum::<u64>();
            // Isolated blocks are of a type of their own.
            let counted = conservation.zones[index].free + conservation.zones[index].isolated;
            let same = (0..zone.nr_free.len()).all(|order| zone.nr_free[order] == of_all_types(order));
            if frames != counted || !same {
                let what = format!(
                    "{counted} frames are free or isolated in zone {index}, which has these:\n{free}{by_type}"
                );
                return Err(Problem::new(what));
            }
        }
        Ok(())
    }

    /// Brings all that is set aside back, when nobody holds anything, and checks that the arena is as in the beginning.
    pub(super) fn check_empty(&self) -> Result<(), Problem> {
        self.check()?;
        if let [left, ..] = &*self.allocator.shrinkers() {
            return Err(Problem::new(format!("a shrinker is left that was removed: {left:?}")));
        }
        self.put_right()?;
        let (free, conservation) = (self.allocator.buddyinfo(), self.allocator.conservation());
        self.check()?;
        match conservation.cached() + conservation.isolated() + self.owners.count() {
            0 if free == self.fresh => Ok(()),
            _ => Err(Problem::new(format!(
                "all is free, and yet the arena is not as in the beginning:\n{conservation}{free}instead of\n{}",
                self.fresh
            ))),
        }
    }

    fn put_right(&self) -> Result<(), Problem> {
        let refused = |error: gfp::RangeError| Problem::new(error.to_string());
        self.allocator.undo_isolate(Pfn::new(0)..Pfn::new(self.frames)).map_err(refused)?;
        for range in self.allocator.offline_ranges() {
            self.allocator.online_pages(range).map_err(refused)?;
        }
        self.allocator.set_mems_allowed(NodeMask::ALL);
        self.allocator.nodes().iter().for_each(|node| self.allocator.set_reclaiming(node.node, false));
        while self.ledger.take_back(&self.allocator)? {}
        self.use_up_highatomic()?;
        let drained = self.allocator.drain_all();
        match drained.skipped {
            0 => Ok(()),
            skipped => {
                Err(Problem::new(format!("{skipped} caches of threads that pause could not be drained")))
            }
        }
    }

    /// Ends all that is set aside for requests that cannot wait: others, which find nothing else, use it.
    fn use_up_highatomic(&self) -> Result<(), Problem> {
        if self.check_highatomic()? > 0 {
            let mut all = Vec::new();
            while let Ok(page) = self.allocator.alloc_page(Gfp::KERNEL) {
                all.push(page);
            }
        }
        match self.check_highatomic()? {
            0 => Ok(()),
            left => Err(Problem::new(format!("{left} frames stay set aside though memory had run out"))),
        }
    }
}
