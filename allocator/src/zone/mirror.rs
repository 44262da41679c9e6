//! What others may read of a zone without its lock.

use super::{
    buddy::{Buddy, TYPES},
    watermark::{FreeCounts, FreeSnapshot, Watermarks},
};
use crate::{
    frame::Order,
    gfp::{MigrateType, NR_ZONE_TYPES},
    sync::{
        OwnedCounter,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

/// How much of a zone is there, and for what: changed with its lock held, read without it.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// Frames that are not offline.
    pub(super) managed: OwnedCounter,
    /// Those of them that are kept for contiguous requests.
    pub(super) cma_pages: OwnedCounter,
    /// Pageblocks out of circulation.
    pub(super) isolated_pageblocks: OwnedCounter,
    /// Free frames that are with the system, and come back.
    pub(super) reporting: OwnedCounter,
}

/// The frames of a zone that not every request may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Special {
    /// Free frames in CMA pageblocks.
    pub(super) free_cma: u64,
    /// Free frames in highatomic pageblocks.
    pub(super) free_highatomic: u64,
    /// Frames of highatomic pageblocks, free or not.
    pub(super) reserved_highatomic: u64,
}

impl Special {
    /// Reads them from the free areas.
    pub(super) fn of(buddy: &Buddy) -> Self {
        Self {
            free_cma: buddy.free_frames_of(MigrateType::Cma),
            free_highatomic: buddy.free_frames_of(MigrateType::HighAtomic),
            reserved_highatomic: buddy.reserved_highatomic(),
        }
    }
}

/// Copies of what the lock protects, written by its holder and read without it.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    free: AtomicU64,
    free_cma: AtomicU64,
    free_highatomic: AtomicU64,
    reserved_highatomic: AtomicU64,
    available: [AtomicU32; TYPES],
    min: AtomicU64,
    low: AtomicU64,
    high: AtomicU64,
    promo: AtomicU64,
    boost: AtomicU64,
    lowmem_reserve: [AtomicU64; NR_ZONE_TYPES],
    /// The marks were boosted, and nobody has told the background thread yet (`ZONE_BOOSTED_WATERMARK`). Cleared without the lock.
    boosted: AtomicBool,
    /// How often the zone came from its high mark, or less, to more.
    rises: OwnedCounter,
}

impl Mirror {
    /// Says whether the background thread is to be told of a boost.
    pub(super) fn set_boosted(&self, boosted: bool) {
        self.boosted.store(boosted, Ordering::Relaxed);
    }

    /// Tells, once, whether the background thread is to be told of a boost.
    #[cfg(not(loom))]
    pub(super) fn take_boosted(&self) -> bool {
        // One load nearly always: the word is shared by all who ask the zone.
        self.boosted.load(Ordering::Relaxed) && self.boosted.swap(false, Ordering::Relaxed)
    }

    /// Returns how often the zone has come above its high mark.
    #[cfg(not(loom))]
    pub(super) fn rises(&self) -> u64 {
        self.rises.get()
    }

    /// Counts that the zone has come above its high mark.
    pub(super) fn count_rise(&self) {
        self.rises.add(1);
    }

    /// Returns the free frames.
    pub(super) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Copies the free frames and which orders have free blocks.
    pub(super) fn set_free(&self, buddy: &Buddy) {
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
        for (word, kind) in self.available.iter().zip(MigrateType::ALL) {
            word.store(buddy.available(kind), Ordering::Relaxed);
        }
    }

    /// Returns the frames of highatomic pageblocks.
    pub(super) fn reserved_highatomic(&self) -> u64 {
        self.reserved_highatomic.load(Ordering::Relaxed)
    }

    /// Copies the frames of the types that not every request may use.
    pub(super) fn set_special(&self, special: &Special) {
        self.free_cma.store(special.free_cma, Ordering::Relaxed);
        self.free_highatomic.store(special.free_highatomic, Ordering::Relaxed);
        self.reserved_highatomic.store(special.reserved_highatomic, Ordering::Relaxed);
    }

    /// Returns the orders that have free blocks.
    pub(super) fn available(&self) -> Available {
        let by_type = core::array::from_fn(|kind| self.available[kind].load(Ordering::Relaxed));
        Available { of_any: by_type.iter().fold(0, |any, orders| any | orders), by_type }
    }

    /// Returns what the watermark test looks at.
    pub(super) fn snapshot<'a>(
        &self,
        max_order: Order,
        counts: &'a Available,
    ) -> FreeSnapshot<'a, Available> {
        FreeSnapshot {
            free: self.free(),
            free_cma: self.free_cma.load(Ordering::Relaxed),
            free_highatomic: self.free_highatomic.load(Ordering::Relaxed),
            reserved_highatomic: self.reserved_highatomic(),
            lowmem_reserve: self.lowmem_reserve(),
            max_order: max_order.get(),
            counts,
        }
    }

    /// Returns the marks.
    pub(super) fn marks(&self) -> Watermarks {
        Watermarks {
            min: self.min.load(Ordering::Relaxed),
            low: self.low.load(Ordering::Relaxed),
            high: self.high.load(Ordering::Relaxed),
            promo: self.promo.load(Ordering::Relaxed),
            boost: self.boost.load(Ordering::Relaxed),
        }
    }

    /// Copies the marks.
    pub(super) fn set_marks(&self, marks: &Watermarks) {
        let words = [&self.min, &self.low, &self.high, &self.promo, &self.boost];
        for (word, mark) in
            words.into_iter().zip([marks.min, marks.low, marks.high, marks.promo, marks.boost])
        {
            word.store(mark, Ordering::Relaxed);
        }
    }

    /// Returns what is kept from requests that could use a higher zone.
    pub(super) fn lowmem_reserve(&self) -> [u64; NR_ZONE_TYPES] {
        core::array::from_fn(|kind| self.lowmem_reserve[kind].load(Ordering::Relaxed))
    }

    /// Copies what is kept from requests that could use a higher zone.
    pub(super) fn set_lowmem_reserve(&self, lowmem_reserve: &[u64; NR_ZONE_TYPES]) {
        for (word, &reserve) in self.lowmem_reserve.iter().zip(lowmem_reserve) {
            word.store(reserve, Ordering::Relaxed);
        }
    }
}

/// Free blocks by order and type as bits: enough for all rules but the one that counts blocks.
pub(super) struct Available {
    of_any: u32,
    by_type: [u32; TYPES],
}

impl FreeCounts for Available {
    fn nr_free(&self, order: u8) -> u64 {
        u64::from(self.of_any >> order & 1)
    }

    fn has_type(&self, order: u8, migratetype: MigrateType) -> bool {
        self.by_type[migratetype.index()] >> order & 1 == 1
    }
}

impl FreeCounts for Buddy {
    fn nr_free(&self, order: u8) -> u64 {
        MigrateType::ALL.iter().map(|&kind| u64::from(self.nr_free(Order::new(order), kind))).sum()
    }

    fn has_type(&self, order: u8, migratetype: MigrateType) -> bool {
        self.nr_free(Order::new(order), migratetype) > 0
    }
}
