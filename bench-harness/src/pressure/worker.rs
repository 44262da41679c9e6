//! A thread: lookups in caches, requests that live shortly, and requests that live long.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use gfp::{Gfp, Order};

use super::{
    cache::Cache,
    ground::Ground,
    pace::Pace,
    page::{Stamped, Whose},
    requests::{Latencies, Outcomes, RequestKind},
    shrink,
};
use crate::workload::Rng;

/// Of so many steps …
const STEPS: usize = 64;
/// … so many are a request that lives shortly, …
const SHORT: usize = 16;
/// … and the ones up to here replace a block that lives long. The others look a page up.
const LONG_END: usize = SHORT + 3;
/// How many blocks that live shortly a thread has.
const SHORT_BLOCKS: usize = 16;
/// Which part of the arena blocks that live long have, of all threads together.
const LONG_SHARE: u64 = 8;
/// Three of four lookups are of the first eighth of a cache's keys.
const HOT_SHARE: u64 = 8;

/// What a thread leaves behind.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outcomes: Outcomes,
    pub(super) latencies: Latencies,
}

#[derive(Debug)]
pub(super) struct Worker<'g> {
    ground: &'g Ground,
    index: usize,
    rng: Rng,
    pace: Pace,
    /// Requests so far.
    number: u64,
    arena_frames: u64,
    short: VecDeque<Stamped>,
    long: Vec<Stamped>,
    long_blocks: usize,
    done: Done,
}

impl<'g> Worker<'g> {
    pub(super) fn new(ground: &'g Ground, index: usize) -> Self {
        let arena_frames = ground.allocator.arena().frames();
        let long = arena_frames / LONG_SHARE / ground.config.threads as u64;
        Self {
            ground,
            index,
            rng: Rng::new(index as u64 + 1),
            pace: Pace::new(),
            number: 0,
            arena_frames,
            short: VecDeque::with_capacity(SHORT_BLOCKS),
            long: Vec::new(),
            long_blocks: usize::try_from(long).unwrap_or(usize::MAX),
            done: Done { outcomes: Outcomes::default(), latencies: Latencies::new() },
        }
    }

    /// Works until all is over, and frees what it has.
    pub(super) fn run(mut self) -> Done {
        while !self.ground.stops() {
            match self.rng.below(STEPS) {
                ..SHORT => self.short(),
                SHORT..LONG_END => self.long(),
                _ => self.look_up(),
            }
        }
        for block in self.short.drain(..).chain(self.long.drain(..)) {
            free(self.ground, block);
        }
        self.done
    }

    /// Looks a page up, and brings it to the cache if it is not there.
    fn look_up(&mut self) {
        let cache = self.cache();
        let keys = cache.kind.keys(self.arena_frames);
        let hot = self.rng.below(4) > 0;
        let key = self.rng.next() % if hot { keys.div_ceil(HOT_SHARE) } else { keys };
        if cache.hit(key) {
            return;
        }
        let order = cache.kind.order(key);
        let kind = if order == Order::ZERO { RequestKind::Fill } else { RequestKind::FillLarge };
        let gfp = cache.kind.gfp(self.ground.config.types);
        if let Some(block) = self.request(kind, gfp, order, cache.whose(key)) {
            cache.insert(key, self.ground.allocator.node_of(block.pages()), block);
        }
    }

    fn cache(&mut self) -> &'g Cache {
        let mut at = self.rng.below(16);
        let chosen = self.ground.caches.iter().find(|cache| {
            let found = at < cache.kind.lookups;
            at = at.saturating_sub(cache.kind.lookups);
            found
        });
        chosen.unwrap_or(&self.ground.caches[0])
    }

    /// Asks for a block that lives until a few others have been asked for.
    fn short(&mut self) {
        let kind = match self.rng.below(3) {
            0 => RequestKind::Short,
            1 => RequestKind::ShortNowait,
            _ => RequestKind::ShortAtomic,
        };
        if let Some(block) = self.request_any(kind) {
            if self.short.len() == SHORT_BLOCKS
                && let Some(oldest) = self.short.pop_front()
            {
                free(self.ground, oldest);
            }
            self.short.push_back(block);
        }
    }

    /// Replaces one of the blocks that live long, once there are all.
    fn long(&mut self) {
        if self.long.len() >= self.long_blocks.max(1) {
            let any = self.rng.below(self.long.len());
            free(self.ground, self.long.swap_remove(any));
        }
        if let Some(block) = self.request_any(RequestKind::Long) {
            self.long.push(block);
        }
    }

    /// Asks for a block of the thread's own, mostly a single page.
    fn request_any(&mut self, kind: RequestKind) -> Option<Stamped> {
        let order = match self.rng.below(24) {
            0 => Order::new(3),
            1 => Order::new(2),
            2 => Order::new(1),
            _ => Order::ZERO,
        };
        self.request(kind, kind.gfp(), order, Whose::Thread(self.index, self.number))
    }

    /// Asks for a block when it may, stamps it, and counts all that there is to count.
    fn request(&mut self, kind: RequestKind, gfp: Gfp, order: Order, whose: Whose) -> Option<Stamped> {
        let ground = self.ground;
        self.number += 1;
        self.pace.wait(&ground.rate, order.frames(), || ground.stops());
        let asked = shrink::asked_here();
        let begin = Instant::now();
        let result = ground.allocator.alloc_pages(gfp, order);
        let took = begin.elapsed();
        let direct = shrink::asked_here() != asked;

        let waits = gfp.contains(Gfp::DIRECT_RECLAIM);
        if direct && !waits {
            ground
                .rules
                .broken(format!("a request that may not wait reclaimed: 2^{order} frames with {gfp}"));
        }
        let live = &ground.live[self.index];
        count(&live.requests, 1);
        count(&live.pages, order.frames().into());
        if ground.counts() {
            self.done.outcomes.asked(kind);
            if waits {
                self.done.latencies.count(took, direct);
            }
        }
        match result {
            Ok(pages) => Some(Stamped::new(pages, whose)),
            Err(error) => {
                count(&live.failures, 1);
                if ground.counts() {
                    self.done.outcomes.failed(kind, &error);
                }
                ground.rules.judge_failure(&error, ground.reclaimable());
                None
            }
        }
    }
}

/// Adds to a counter of which there is one writer.
fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// Verifies a block and frees it.
fn free(ground: &Ground, block: Stamped) {
    if let Err(sentence) = block.verify() {
        ground.rules.broken(format!("freed: {sentence}"));
    }
    drop(block);
}
