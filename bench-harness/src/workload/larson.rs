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
/// How many it replaces between two looks at the clock, which so cost next to nothing.
const AT_ONCE: usize = BLOCKS;

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

    /// Replaces what a cycle does, or less if the deadline passes.
    #[inline(always)]
    fn replace<T: RivalThread<Block = B>>(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        let mut full = self.live.as_mut().and_then(Slots::full).ok_or(Stop::OutOfBlocks)?;
        let mut rng = self.rng.clone();
        for _ in 0..REPLACEMENTS / AT_ONCE {
            if Instant::now() >= deadline {
                return Err(Stop::OutOfTime);
            }
            for _ in 0..AT_ONCE {
                full = full.replace(rng.below(BLOCKS), thread, self.order.request())?;
            }
        }
        self.rng = rng;
        Ok(())
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

    /// Leaves the circle after a refusal, or too late, so that nobody waits for this thread for ever.
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
    fn run(&mut self, thread: &mut T, cycles: u64, deadline: Instant) -> Result<(), Stop> {
        let mut done = Ok(());
        for _ in 0..cycles {
            // Who has no time left replaces nothing more, and hands on what it has: the others wait for it.
            done = done.and_then(|()| self.replace(thread, deadline));
            if done != Err(Stop::OutOfBlocks) {
                done = self.hand_over().and(done);
            }
            if done == Err(Stop::OutOfBlocks) {
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
    use std::{thread, time::Duration};

    use super::*;
    use crate::{rival::Request, workload::Constant};

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

    /// An allocator that counts.
    #[derive(Default)]
    struct Numbers {
        given: u32,
        back: u32,
    }

    impl RivalThread for Numbers {
        type Block = u32;

        fn alloc(&mut self, _: Request) -> Option<u32> {
            self.given += 1;
            Some(self.given)
        }

        fn free(&mut self, _: u32, _: u32) {
            self.back += 1;
        }

        fn address(&self, _: &u32) -> *mut u8 {
            unreachable!("nobody looks at the blocks")
        }
    }

    #[test]
    fn who_is_late_replaces_nothing_more_and_keeps_nobody_waiting() {
        const CYCLES: u64 = 20;
        let later = Instant::now() + Duration::from_secs(60);
        let late = |link, seed, deadline| {
            let (mut thread, mut worker) = (Numbers::default(), Larson::new(Constant::<0>, seed, link));
            worker.prepare(&mut thread, later).unwrap();
            let done = worker.run(&mut thread, CYCLES, deadline);
            let replaced = thread.back;
            worker.finish(&mut thread, later);
            (done, replaced, thread.back - replaced)
        };
        let all = u32::try_from(CYCLES).unwrap() * u32::try_from(REPLACEMENTS).unwrap();
        let (in_time, out_of_time) = ((Ok(()), all, 1024), (Err(Stop::OutOfTime), 0, 1024));
        for deadlines in [[later; 3], [later, Instant::now(), later], [Instant::now(); 3]] {
            let ended: Vec<_> = thread::scope(|scope| {
                let members = circle(3).into_iter().zip(deadlines).zip(1..);
                let members: Vec<_> = members
                    .map(|((link, deadline), seed)| scope.spawn(move || late(link, seed, deadline)))
                    .collect();
                members.into_iter().map(|member| member.join().unwrap()).collect()
            });
            let expected = deadlines.map(|deadline| if deadline == later { in_time } else { out_of_time });
            assert_eq!(ended, expected);
        }
    }
}
