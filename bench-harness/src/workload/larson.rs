//! Larson: blocks outlive the thread that allocated them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Fixed, Rng, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a thread keeps alive: 4 MiB of order 0.
pub(super) const BLOCKS: usize = 1024;
/// How many of them it replaces before it hands them over.
pub(super) const REPLACEMENTS: usize = 4 * BLOCKS;

type LiveSet<B> = Slots<B, Fixed<BLOCKS>>;

/// A server whose threads end and pass what they have on (Larson and Krishnan, 1998). A cycle replaces a random one of 1024 live blocks
/// 4096 times, then hands all of them to the next thread, and goes on with those of the thread before.
///
/// The threads stand in a circle: each is the successor of the one before, and a single thread its own. So a block is mostly freed by
/// another thread than the one that allocated it, and all threads end a cycle together. The blocks stay alive from sample to sample.
#[derive(Debug)]
pub struct Larson<B, O> {
    order: O,
    /// None only while it is handed over, and after the circle has broken.
    live: Option<LiveSet<B>>,
    link: Link<B>,
    rng: Rng,
}

/// A thread's place in the circle.
#[derive(Debug)]
pub struct Link<B> {
    /// None once this thread has left: whoever waits for it learns so.
    successor: Option<Sender<LiveSet<B>>>,
    predecessor: Receiver<LiveSet<B>>,
}

/// Makes a circle of so many members.
#[must_use]
pub fn circle<B: Send>(members: usize) -> Vec<Link<B>> {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..members).map(|_| mpsc::channel()).unzip();
    senders.rotate_left(members.min(1));
    let link = |(successor, predecessor)| Link { successor: Some(successor), predecessor };
    senders.into_iter().zip(receivers).map(link).collect()
}

impl<B, O: BlockOrder> Larson<B, O> {
    /// Makes a worker for blocks of that order, with the random sequence of the seed, at a place in the circle.
    pub fn new(order: O, seed: u64, link: Link<B>) -> Self {
        Self { order, live: Some(Slots::new(Fixed)), link, rng: Rng::new(seed) }
    }

    #[inline(always)]
    fn cycle<T: RivalThread<Block = B>>(&mut self, thread: &mut T) -> Result<(), Stop> {
        let mut full = self.live.as_mut().and_then(Slots::full).ok_or(Stop::OutOfBlocks)?;
        let mut rng = self.rng.clone();
        for _ in 0..REPLACEMENTS {
            full = full.replace(rng.below(BLOCKS), thread, self.order.request())?;
        }
        self.rng = rng;
        self.hand_over()
    }

    /// Gives the blocks to the successor and takes the predecessor's. Fails when one of the two has left.
    fn hand_over(&mut self) -> Result<(), Stop> {
        let successor = self.link.successor.as_ref().ok_or(Stop::OutOfBlocks)?;
        let live = self.live.take().ok_or(Stop::OutOfBlocks)?;
        if let Err(kept) = successor.send(live) {
            self.live = Some(kept.0);
            return Err(Stop::OutOfBlocks);
        }
        self.live = self.link.predecessor.recv().ok();
        self.live.as_ref().map(|_| ()).ok_or(Stop::OutOfBlocks)
    }

    /// Leaves the circle after a refusal, so that nobody waits for this thread for ever.
    fn leave_unless_done(&mut self, done: Result<(), Stop>) -> Result<(), Stop> {
        if done.is_err() {
            self.link.successor = None;
        }
        done
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Larson<T::Block, O> {
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        let request = self.order.request();
        let fill = |live: &mut LiveSet<T::Block>| live.fill(thread, request, || Instant::now() < deadline);
        let filled = self.live.as_mut().map_or(Err(Stop::OutOfBlocks), fill);
        self.leave_unless_done(filled)
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        let mut done = Ok(());
        for _ in 0..cycles {
            done = self.cycle(thread);
            if done.is_err() {
                break;
            }
        }
        self.leave_unless_done(done)
    }

    fn finish(&mut self, thread: &mut T, deadline: Instant) {
        self.link.successor = None;
        // What was sent before the circle broke is this thread's to free; it ends when the predecessor has left, too.
        let sent = std::iter::from_fn(|| self.link.predecessor.recv().ok());
        for mut live in self.live.take().into_iter().chain(sent) {
            live.give_up(thread, self.order.get(), deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_members_successor_has_it_for_a_predecessor() {
        for members in [1, 2, 5] {
            let links = circle::<u32>(members);
            assert_eq!(links.len(), members);
            for link in &links {
                link.successor.as_ref().unwrap().send(Slots::new(Fixed)).unwrap();
            }
            let received = links.iter().filter(|link| link.predecessor.try_recv().is_ok()).count();
            assert_eq!(received, members, "one each");
        }
        // The second one's blocks come from the first.
        let links = circle::<u32>(3);
        links[0].successor.as_ref().unwrap().send(Slots::new(Fixed)).unwrap();
        let received: Vec<bool> = links.iter().map(|link| link.predecessor.try_recv().is_ok()).collect();
        assert_eq!(received, [false, true, false]);
    }
}
