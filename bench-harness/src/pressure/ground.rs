//! The arena with its caches, and what must be so at the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use crossbeam_utils::CachePadded;
use gfp::{Allocator, Conservation, Spread, platform::Topology, reclaim::RegisteredShrinker};

use super::{
    Config,
    cache::{Cache, KINDS},
    pace::SharedRate,
    rules::Rules,
    shrink::CacheShrinker,
};

/// How far the marks lie apart, in ten-thousandths of the arena: 10 %. What is reclaimed in one go is many times what comes back while kswapd stops.
const SCALE_FACTOR: u64 = 1000;

/// The smallest arena: in smaller ones the threads' own caches are a large part.
const SMALLEST: usize = 8 << 20;
/// How often, and how long each time, the end waits for reclaim to have done what it began.
const PATIENCE: (u32, Duration) = (500, Duration::from_millis(10));

/// What all threads share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) config: Config,
    pub(super) allocator: Allocator,
    pub(super) caches: Vec<Arc<Cache>>,
    /// Deregistered when all threads have ended.
    shrinkers: Vec<RegisteredShrinker>,
    pub(super) rules: Arc<Rules>,
    pub(super) rate: SharedRate,
    /// By thread.
    pub(super) live: Box<[CachePadded<Live>]>,
    counts: AtomicBool,
    stop: AtomicBool,
}

/// What a thread has done so far; only that thread writes to it.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) requests: AtomicU64,
    pub(super) pages: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Ground {
    /// Builds the arena, and registers the caches.
    ///
    /// # Errors
    /// The arena cannot be had, or is too small.
    pub(super) fn build(config: &Config) -> Result<Self> {
        let Config { arena_bytes, threads, nodes, .. } = *config;
        ensure!(
            arena_bytes >= SMALLEST,
            "an arena of {arena_bytes} bytes is too small for caches to be under pressure: --arena 8M or more"
        );
        let rules = Arc::new(Rules::default());
        let told = Arc::clone(&rules);
        let mut builder = Allocator::builder(arena_bytes)
            .nodes(Spread::AllNodes)
            // It would be kept for requests that nobody makes here, and free memory in it would say nothing.
            .dma(0)
            // Where memory is short all the time, a background thread needs more of a start than the usual thousandth of the arena.
            .watermark_scale_factor(SCALE_FACTOR)
            .on_misuse(Box::new(move |error| told.broken(error.to_string())));
        if let Some(nodes) = nodes {
            // One CPU a node, so that this machine's are on several.
            builder = builder.topology(Topology::synthetic(&format!("numa:{nodes} core:1 pu:1"))?);
        }
        let allocator = builder.build()?;
        let nodes = allocator.nodes().iter().map(|node| node.node.index() + 1).max().unwrap_or(1);
        let cache = |number| Arc::new(Cache::new(number, nodes, Arc::clone(&rules)));
        let caches: Vec<_> = (0..KINDS.len()).map(cache).collect();
        let register = |cache: &Arc<Cache>| {
            allocator.register_shrinker(cache.kind.name, CacheShrinker(Arc::downgrade(cache)))
        };
        Ok(Self {
            config: *config,
            shrinkers: caches.iter().map(register).collect(),
            rate: SharedRate::new(threads),
            live: (0..threads).map(|_| CachePadded::default()).collect(),
            counts: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            allocator,
            caches,
            rules,
        })
    }

    /// Returns how many pages reclaim could take.
    pub(super) fn reclaimable(&self) -> u64 {
        self.caches.iter().map(|cache| cache.frames()).sum()
    }

    /// Tells whether requests are counted now.
    pub(super) fn counts(&self) -> bool {
        self.counts.load(Ordering::Relaxed)
    }

    pub(super) fn begin_counting(&self) {
        self.counts.store(true, Ordering::Relaxed);
    }

    /// Tells whether threads are to end.
    pub(super) fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Checks, when all threads have ended and freed what they had, that the caches have all that is allocated, and that
    /// all is free when they are empty. Returns where all frames are then.
    pub(super) fn finish(&mut self) -> Conservation {
        self.judge(|ground| ground.reclaimable(), "with full caches");
        // From here on nobody else touches the caches.
        self.shrinkers.clear();
        self.caches.iter().for_each(|cache| cache.empty());
        self.judge(|_| 0, "with empty caches");
        let conservation = self.conservation();
        let (free, managed) = (conservation.free(), conservation.managed());
        if free != managed {
            self.rules.broken(format!(
                "only {free} of {managed} frames are free when nobody has any:\n{conservation}"
            ));
        }
        match self.allocator.bad_pages() {
            0 => {}
            bad => self.rules.broken(format!("{bad} frames were found bad")),
        }
        conservation
    }

    /// Counts all frames when nothing is cached or left to the next holder of a zone's lock.
    fn conservation(&self) -> Conservation {
        self.allocator.drain_all();
        // Takes the locks of all zones.
        self.allocator.buddyinfo();
        self.allocator.conservation()
    }

    /// Judges the conservation; gives reclaim, which may be at work, the time to end.
    fn judge(&self, held: fn(&Self) -> u64, when: &str) {
        let (tries, pause) = PATIENCE;
        let mut last = Ok(());
        for _ in 0..tries {
            let before = held(self);
            let conservation = self.conservation();
            last = Rules::judge_conservation(&conservation, before);
            if last.is_ok() {
                return;
            }
            thread::sleep(pause);
        }
        if let Err(sentence) = last {
            self.rules.broken(format!("{when}, {sentence}"));
        }
    }
}
