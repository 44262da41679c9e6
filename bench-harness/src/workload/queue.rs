//! A bounded queue of batches between one producer and one consumer.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_utils::{Backoff, CachePadded};

/// How many blocks are handed over at a time.
pub(super) const BATCH: usize = 64;
/// How many batches the queue holds.
pub(super) const BATCHES: usize = 16;

type Batch<B> = [MaybeUninit<B>; BATCH];

/// A ring of batches. Batches `received..sent` are full and the consumer's, the others the producer's; both
/// counters only grow, and each is written by one side.
#[derive(Debug)]
struct Ring<B> {
    sent: CachePadded<AtomicUsize>,
    received: CachePadded<AtomicUsize>,
    /// Set by the side that ends, so that the other does not wait for it.
    closed: AtomicBool,
    batches: [CachePadded<UnsafeCell<Batch<B>>>; BATCHES],
}

// SAFETY: a batch is touched only by the side whose it is by the counters, which are stored with Release
// after the last access and loaded with Acquire before the first one.
unsafe impl<B: Send> Sync for Ring<B> {}

/// Makes an empty queue.
#[must_use]
pub fn queue<B: Send>() -> (Producer<B>, Consumer<B>) {
    let ring = Arc::new(Ring {
        sent: CachePadded::new(AtomicUsize::new(0)),
        received: CachePadded::new(AtomicUsize::new(0)),
        closed: AtomicBool::new(false),
        batches: [const { CachePadded::new(UnsafeCell::new([const { MaybeUninit::uninit() }; BATCH])) };
            BATCHES],
    });
    (Producer { ring: Arc::clone(&ring), sent: 0, received: 0 }, Consumer { ring, sent: 0, received: 0 })
}

/// The sending side.
#[derive(Debug)]
pub struct Producer<B> {
    ring: Arc<Ring<B>>,
    sent: usize,
    /// What the other side had received when this side last looked.
    received: usize,
}

impl<B> Producer<B> {
    /// Fills a batch with what `next` returns and sends it, waiting for room.
    ///
    /// # Errors
    /// `next` returned nothing, or the consumer is gone: the blocks of the unfinished batch.
    #[inline(always)]
    pub(super) fn send(&mut self, mut next: impl FnMut() -> Option<B>) -> Result<(), Vec<B>> {
        if self.sent - self.received == BATCHES && !self.wait_for_room() {
            return Err(Vec::new());
        }
        let batch = self.ring.batches[self.sent % BATCHES].get();
        // SAFETY: fewer than BATCHES batches are the consumer's, so this one is ours.
        let batch = unsafe { &mut *batch };
        for (index, place) in batch.iter_mut().enumerate() {
            match next() {
                Some(block) => _ = place.write(block),
                None => return Err(Self::take_back(&batch[..index])),
            }
        }
        self.sent += 1;
        self.ring.sent.store(self.sent, Ordering::Release);
        Ok(())
    }

    #[cold]
    fn take_back(written: &[MaybeUninit<B>]) -> Vec<B> {
        // SAFETY: these places were written for a batch that is not sent, so nobody else reads them.
        written.iter().map(|place| unsafe { place.assume_init_read() }).collect()
    }

    /// Waits until the consumer has received a batch; says whether it has.
    #[cold]
    fn wait_for_room(&mut self) -> bool {
        let backoff = Backoff::new();
        loop {
            self.received = self.ring.received.load(Ordering::Acquire);
            if self.sent - self.received < BATCHES {
                return true;
            }
            if self.ring.closed.load(Ordering::Acquire) {
                return false;
            }
            backoff.snooze();
        }
    }

    /// Says that nothing more is sent.
    pub(super) fn close(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}

impl<B> Drop for Producer<B> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The receiving side.
#[derive(Debug)]
pub struct Consumer<B> {
    ring: Arc<Ring<B>>,
    /// What the other side had sent when this side last looked.
    sent: usize,
    received: usize,
}

impl<B> Consumer<B> {
    /// Copies the next batch out, waiting for it; says whether there was one, which is false only when the
    /// queue is closed and empty. A batch that was copied out is owned by the caller, all of it.
    ///
    /// It copies the whole batch before the first block is used, so that its cache lines, which come from
    /// the other CPU, are fetched all at once.
    #[inline(always)]
    pub(super) fn receive(&mut self, into: &mut Batch<B>) -> bool {
        if self.sent == self.received && !self.wait_for_batch() {
            return false;
        }
        let batch = self.ring.batches[self.received % BATCHES].get();
        // SAFETY: the batch was sent and not received yet, so it is ours; `into` is no part of the ring.
        unsafe { std::ptr::copy_nonoverlapping(batch, into, 1) };
        self.received += 1;
        self.ring.received.store(self.received, Ordering::Release);
        true
    }

    /// Waits until the producer has sent a batch; says whether it has.
    #[cold]
    fn wait_for_batch(&mut self) -> bool {
        let backoff = Backoff::new();
        loop {
            // In this order: what was sent before the queue was closed is seen.
            let closed = self.ring.closed.load(Ordering::Acquire);
            self.sent = self.ring.sent.load(Ordering::Acquire);
            if self.sent != self.received {
                return true;
            }
            if closed {
                return false;
            }
            backoff.snooze();
        }
    }
}

impl<B> Drop for Consumer<B> {
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(consumer: &mut Consumer<u64>) -> Option<Vec<u64>> {
        let mut batch = [const { MaybeUninit::uninit() }; BATCH];
        // SAFETY: all of a received batch is initialised.
        consumer.receive(&mut batch).then(|| batch.map(|place| unsafe { place.assume_init() }).to_vec())
    }

    #[test]
    fn every_block_arrives_once_and_in_order() {
        const SENT: u64 = 200 * BATCH as u64;
        let (mut producer, mut consumer) = queue::<u64>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut numbers = 0..SENT;
                while !numbers.is_empty() {
                    producer.send(|| numbers.next()).unwrap();
                }
            });
            let mut arrived = Vec::new();
            while let Some(batch) = received(&mut consumer) {
                arrived.extend(batch);
            }
            assert!(arrived.into_iter().eq(0..SENT));
        });
    }

    #[test]
    fn an_unfinished_batch_comes_back_to_the_producer() {
        let (mut producer, mut consumer) = queue::<u64>();
        let mut numbers = 0..BATCH as u64 + 3;
        assert_eq!(producer.send(|| numbers.next()), Ok(()));
        assert_eq!(producer.send(|| numbers.next()), Err(vec![64, 65, 66]));
        drop(producer);
        assert_eq!(received(&mut consumer).unwrap().len(), BATCH);
        assert_eq!(received(&mut consumer), None);
    }

    #[test]
    fn a_full_queue_without_a_consumer_refuses() {
        let (mut producer, consumer) = queue::<u64>();
        drop(consumer);
        for _ in 0..BATCHES {
            producer.send(|| Some(1)).unwrap();
        }
        assert_eq!(producer.send(|| Some(1)), Err(Vec::new()));
    }
}
