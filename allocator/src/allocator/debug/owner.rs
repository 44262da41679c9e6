//! Who allocated which block, and who freed it last (`page_owner`).

use core::{panic::Location, ptr, time::Duration};
use std::time::Instant;

use super::{Caller, frame_map::FrameMap};
use crate::{
    error::{ThreadName, Trace},
    frame::{Block, Order, Pfn},
    gfp::Gfp,
    platform::this_thread,
    sync::{
        SeqCount, ZeroedSlice, ZeroedSliceError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        zeroable,
    },
};

/// A live block and who allocated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOwner {
    /// The block's first frame.
    pub pfn: Pfn,
    /// Its order.
    pub order: Order,
    /// The mask of the request.
    pub gfp: Gfp,
    /// Who asked, and when.
    pub allocated: Trace,
}

zeroable! {
    /// A [`Trace`] as it stands in the table.
    #[derive(Debug)]
    struct Mark {
        /// Address of the caller's `Location`, or 0.
        caller: AtomicU64,
        name: [AtomicU64; 2],
        nanos: AtomicU64,
        /// 0 where nothing is recorded: no thread has that number.
        thread: AtomicU32,
    }
}

zeroable! {
    /// What is known of the blocks that began at a frame.
    #[derive(Debug)]
    struct Record {
        allocated: Mark,
        freed: Mark,
        gfp: AtomicU32,
        order: AtomicU32,
        writes: SeqCount,
    }
}

/// A record for each frame, and which of them are of live blocks.
///
/// Only a block's owner writes, so that two writers meet only where a block was freed twice: then the record may be of both.
#[derive(Debug)]
pub(super) struct PageOwners {
    records: ZeroedSlice<Record>,
    live: FrameMap,
    built: Instant,
}

/// How often a reader tries to read a record that others write to all the time.
const TRIES: u32 = 64;

impl Mark {
    fn set(&self, trace: &Trace) {
        let caller = trace.caller.map_or(ptr::null(), ptr::from_ref);
        self.caller.store(caller.expose_provenance() as u64, Ordering::Relaxed);
        let (halves, _) = trace.name.0.as_chunks::<8>();
        for (word, half) in self.name.iter().zip(halves) {
            word.store(u64::from_ne_bytes(*half), Ordering::Relaxed);
        }
        self.nanos.store(u64::try_from(trace.at.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.thread.store(trace.thread, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Trace> {
        let thread = self.thread.load(Ordering::Relaxed);
        let mut name = [0; 16];
        for (word, half) in self.name.iter().zip(name.as_chunks_mut::<8>().0) {
            *half = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        (thread != 0).then(|| Trace {
            caller: self.caller(),
            thread,
            name: ThreadName(name),
            at: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        })
    }

    fn caller(&self) -> Option<Caller> {
        let address = usize::try_from(self.caller.load(Ordering::Relaxed)).unwrap_or(0);
        let location = ptr::with_exposed_provenance::<Location<'static>>(address);
        // SAFETY: only addresses of static locations are stored, each in one step, and 0.
        unsafe { location.as_ref() }
    }
}

impl Record {
    fn write(&self, change: impl FnOnce(&Self)) {
        self.writes.write(|| change(self));
    }

    fn read<R>(&self, look: impl Fn(&Self) -> R) -> Option<R> {
        (0..TRIES).find_map(|_| self.writes.try_read(|| look(self)))
    }
}

impl PageOwners {
    /// Makes the table of an allocator with so many frames; time begins now.
    pub(super) fn new(frames: usize) -> Result<Self, ZeroedSliceError> {
        let (records, live) = (ZeroedSlice::new(frames)?, FrameMap::new(frames)?);
        Ok(Self { records, live, built: Instant::now() })
    }

    fn trace(&self, caller: Option<Caller>) -> Trace {
        let (thread, name) = this_thread();
        Trace { caller, thread, name: ThreadName(name), at: self.built.elapsed() }
    }

    /// Records that a block goes to its owner.
    pub(super) fn allocated(&self, block: Block, gfp: Gfp, caller: Caller) {
        let trace = self.trace(Some(caller));
        self.begin(block, gfp.bits(), &trace);
    }

    fn begin(&self, block: Block, gfp: u32, trace: &Trace) {
        self.records[block.pfn().index()].write(|record| {
            record.allocated.set(trace);
            record.gfp.store(gfp, Ordering::Relaxed);
            record.order.store(u32::from(block.order().get()), Ordering::Relaxed);
        });
        self.live.insert(block.pfn());
    }

    /// Records that a block comes back; of one that is back already, the first time counts.
    pub(super) fn freed(&self, block: Block, caller: Option<Caller>) {
        if self.live.remove(block.pfn()) {
            let trace = self.trace(caller);
            self.records[block.pfn().index()].write(|record| record.freed.set(&trace));
        }
    }

    /// Records that the frames of a block are blocks of their own from now on (`split_page_owner`).
    pub(super) fn split(&self, block: Block) {
        if let Some(PageOwner { gfp, allocated, .. }) = self.owner(block.pfn()) {
            block.into_frames().for_each(|frame| self.begin(frame, gfp.bits(), &allocated));
        }
    }

    /// Returns who has the live block that begins at a frame.
    fn owner(&self, pfn: Pfn) -> Option<PageOwner> {
        self.records[pfn.index()].read(|record| {
            // The order that was stored is one of a block.
            let order = Order::try_new(record.order.load(Ordering::Relaxed))?;
            let gfp = Gfp::from_bits_retain(record.gfp.load(Ordering::Relaxed));
            record.allocated.get().map(|allocated| PageOwner { pfn, order, gfp, allocated })
        })?
    }

    /// Returns the live blocks, lowest first.
    pub(super) fn live(&self) -> impl Iterator<Item = PageOwner> {
        self.live.iter().filter_map(|pfn| self.owner(pfn))
    }

    /// Returns who freed last a block that began at a frame.
    pub(super) fn last_free(&self, pfn: Pfn) -> Option<Trace> {
        self.records.get(pfn.index())?.read(|record| record.freed.get())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{AllocatorNumber, Descriptor, PcpList, ZoneNumber},
        gfp::MigrateType,
        sync::{Arc, atomic::AtomicBool, thread},
    };

    fn block(pfn: u32) -> Block {
        let list = PcpList::of(Order::ZERO, MigrateType::Movable);
        let kind = Descriptor::of(list, ZoneNumber::new(0), Order::ZERO);
        Block::new(AllocatorNumber::new(1).expect("not 0"), Pfn::new(pfn), kind)
    }

    #[test]
    fn a_record_costs_what_the_documentation_says() {
        assert_eq!(size_of::<Record>(), 96);
    }

    #[test]
    fn of_two_frees_the_first_is_remembered() {
        let owners = PageOwners::new(64).unwrap();
        let (here, there) = (Location::caller(), Location::caller());
        owners.allocated(block(5), Gfp::ATOMIC, here);
        owners.freed(block(5), Some(here));
        owners.freed(block(5), Some(there));
        assert_eq!(owners.last_free(Pfn::new(5)).and_then(|trace| trace.caller), Some(here));
        assert_eq!((owners.live().count(), owners.last_free(Pfn::new(6))), (0, None));
    }

    #[test]
    fn a_reader_sees_whole_records_only() {
        const LOOKS: usize = 20_000;
        let owners = Arc::new(PageOwners::new(64).unwrap());
        let callers = [Location::caller(), Location::caller()];
        let masks = [Gfp::KERNEL, Gfp::ATOMIC];
        let done = Arc::new(AtomicBool::new(false));
        let (writer, is_done) = (Arc::clone(&owners), Arc::clone(&done));
        let writing = thread::spawn(move || {
            for turn in 0.. {
                writer.allocated(block(7), masks[turn % 2], callers[turn % 2]);
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let mut seen = 0;
        while seen < LOOKS {
            if let Some(owner) = owners.live().next() {
                let which = usize::from(owner.gfp == masks[1]);
                assert_eq!(owner.allocated.caller, Some(callers[which]));
                seen += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        writing.join().expect("no panic");
    }
}
