//! An arena that threads use: blocks of many orders and all types come and go, on all nodes.

use std::{
    sync::mpsc::{self, Sender},
    thread,
};

use anyhow::{Context, Result};
use gfp::{Allocator, Gfp, Handle, Nid, Order, Pages, Spread, pcp::NoCache, platform::Topology};

use crate::workload::Rng;

/// Orders as a kernel's requests have them: mostly small.
const ORDERS: [u8; 12] = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 9];

/// Unmovable, movable and reclaimable.
const MASKS: [Gfp; 3] = [Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE, Gfp::KERNEL.union(Gfp::RECLAIMABLE)];

/// How often a thread allocates a block.
const REQUESTS: u32 = 20_000;

/// An arena and the number of threads that use it.
#[derive(Debug)]
pub(super) struct Example {
    allocator: Allocator,
    threads: usize,
}

impl Example {
    /// Builds an arena over so many nodes of a made-up machine, or over all nodes of this one.
    ///
    /// # Errors
    /// When the arena cannot be had, or is too small for its nodes.
    pub(super) fn build(arena_bytes: usize, nodes: Option<usize>, threads: usize) -> Result<Self> {
        let mut builder = Allocator::builder(arena_bytes).nodes(Spread::AllNodes);
        if let Some(nodes) = nodes {
            builder = builder.topology(Topology::synthetic(&format!("numa:{nodes} core:2 pu:1"))?);
        }
        Ok(Self { allocator: builder.build()?, threads })
    }

    /// Lets the threads do their work, and calls `look` while they live and hold what they have not freed.
    ///
    /// # Errors
    /// When a thread cannot be started or has no cache.
    pub(super) fn run<R>(&self, look: impl FnOnce(&Allocator) -> R) -> Result<R> {
        thread::scope(|scope| {
            let (done, all_done) = mpsc::channel();
            // Threads hold their blocks until the other end of this is gone, whatever happens here.
            let (_release, released): (Vec<Sender<()>>, Vec<_>) =
                (0..self.threads).map(|_| mpsc::channel()).unzip();
            for (seed, released) in (1..).zip(released) {
                let (done, allocator) = (done.clone(), &self.allocator);
                let share = self.share_frames();
                thread::Builder::new().spawn_scoped(scope, move || {
                    let held = work(allocator, seed, share);
                    let told = done.send(held.as_ref().map(|_| ()).map_err(|&error| error));
                    drop(done);
                    if told.is_ok() {
                        // There is no message but that the sender is gone.
                        released.iter().for_each(drop);
                    }
                })?;
            }
            drop(done);
            for _ in 0..self.threads {
                all_done.recv().context("a thread ended too early")??;
            }
            Ok(look(&self.allocator))
        })
    }

    /// Returns how many frames a thread holds at most: all together a quarter of the arena.
    fn share_frames(&self) -> u64 {
        self.allocator.arena().frames() / 4 / self.threads as u64
    }
}

/// What a thread holds.
#[derive(Default)]
struct Held {
    blocks: Vec<Pages>,
    frames: u64,
}

impl Held {
    fn add(&mut self, pages: Pages) {
        self.frames += u64::from(pages.order().frames());
        self.blocks.push(pages);
    }

    /// Frees a random block, if there is one.
    fn free_one(&mut self, handle: &Handle, rng: &mut Rng) {
        if !self.blocks.is_empty() {
            let pages = self.blocks.swap_remove(rng.below(self.blocks.len()));
            self.frames -= u64::from(pages.order().frames());
            handle.free_pages(pages);
        }
    }
}

/// Allocates and frees, and returns what is left.
fn work(allocator: &Allocator, seed: u64, share_frames: u64) -> Result<Held, NoCache> {
    let handle = allocator.handle()?;
    let nodes = allocator.nodes().len();
    let mut rng = Rng::new(seed);
    let mut held = Held::default();
    for _ in 0..REQUESTS {
        let (order, gfp) = (Order::new(ORDERS[rng.below(ORDERS.len())]), MASKS[rng.below(MASKS.len())]);
        // Every fourth is for a node in particular.
        let pages = match rng.below(4) {
            0 => allocator.alloc_pages_node(Some(Nid::new(rng.below(nodes))), gfp, order),
            _ => handle.alloc_pages(gfp, order),
        };
        match pages {
            Ok(pages) => held.add(pages),
            // A small arena is full: others, and the next request, find what is freed here.
            Err(_) => held.free_one(&handle, &mut rng),
        }
        while held.frames > share_frames {
            held.free_one(&handle, &mut rng);
        }
    }
    Ok(held)
}
