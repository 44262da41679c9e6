//! `/sys/kernel/debug/extfrag`: how much of the free memory is of use to a request, and why one would fail.

use core::fmt;

use super::{Buddyinfo, BuddyinfoZone};
use crate::{frame::Order, gfp::ZoneType};

/// What the indices of one zone and order are computed from (`struct contig_page_info`).
///
/// ```
/// use gfp::{Order, stats::{ContigPageInfo, fragmentation_index, unusable_free_index}};
///
/// // Free are six single frames and two pairs.
/// let nr_free = [6, 2];
/// let pair = ContigPageInfo::new(&nr_free, Order::new(1));
/// assert_eq!((pair.free_pages, pair.free_blocks_total, pair.free_blocks_suitable), (10, 8, 2));
/// // Of the ten frames six are of no use to a request for a pair, which would not fail.
/// assert_eq!(unusable_free_index(Order::new(1), &pair), 600);
/// assert_eq!(fragmentation_index(Order::new(1), &pair), -1000);
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ContigPageInfo {
    /// Free frames.
    pub free_pages: u64,
    /// Free blocks.
    pub free_blocks_total: u64,
    /// Blocks of the wanted order that the free blocks are good for.
    pub free_blocks_suitable: u64,
}

impl ContigPageInfo {
    /// Counts what is free, where `nr_free` are the free blocks by order (`fill_contig_page_info`).
    #[doc(alias = "fill_contig_page_info")]
    #[must_use]
    pub fn new(nr_free: &[u64], suitable_order: Order) -> Self {
        let mut info = Self::default();
        for (order, &blocks) in nr_free.iter().enumerate() {
            info.free_blocks_total += blocks;
            info.free_pages += blocks << order;
            if order >= suitable_order.index() {
                info.free_blocks_suitable += blocks << (order - suitable_order.index());
            }
        }
        info
    }
}

/// Returns the share of the free frames that a request of `order` has no use for, in thousandths: from 0 for all are in large
/// enough blocks to 1000 for none is, which is also the answer when nothing is free.
///
/// ```
/// use gfp::{Order, stats::{ContigPageInfo, unusable_free_index}};
///
/// let singles = ContigPageInfo::new(&[6, 0], Order::new(1));
/// assert_eq!(unusable_free_index(Order::new(1), &singles), 1000);
/// ```
#[must_use]
pub fn unusable_free_index(order: Order, info: &ContigPageInfo) -> i32 {
    let usable = info.free_blocks_suitable << order.get();
    let thousandths = ((info.free_pages - usable) * 1000).checked_div(info.free_pages).unwrap_or(1000);
    i32::try_from(thousandths).expect("at most 1000")
}

/// Returns why a request of `order` would fail, in thousandths: towards 0 for lack of memory, towards 1000 because what is
/// free is in pieces; -1000 when it would not fail, and 0 when nothing is free.
///
/// Less than 0 is possible: a single block that is half as large as it should be gives -500.
///
/// ```
/// use gfp::{Order, stats::{ContigPageInfo, fragmentation_index}};
///
/// // A request for 16 frames fails: 64 single frames are too much in pieces, 2 are too few.
/// let index = |singles| fragmentation_index(Order::new(4), &ContigPageInfo::new(&[singles], Order::new(4)));
/// assert_eq!((index(64), index(2)), (922, 438));
/// ```
#[doc(alias = "__fragmentation_index")]
#[must_use]
pub fn fragmentation_index(order: Order, info: &ContigPageInfo) -> i32 {
    if info.free_blocks_total == 0 {
        return 0;
    }
    if info.free_blocks_suitable > 0 {
        return -1000;
    }
    let requests = info.free_pages * 1000 / u64::from(order.frames());
    1000 - i32::try_from((1000 + requests) / info.free_blocks_total).expect("a block is less than a request")
}

/// An index of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ZoneIndices {
    /// The zone's NUMA node.
    pub node: u32,
    /// The zone's type, which is its name.
    pub zone: ZoneType,
    /// The index in thousandths, by order of the request.
    pub thousandths: Vec<i32>,
}

impl ZoneIndices {
    fn of(zone: &BuddyinfoZone, index: fn(Order, &ContigPageInfo) -> i32) -> Self {
        let orders = (0u32..).map_while(Order::try_new).take(zone.nr_free.len());
        let thousandths = orders.map(|order| index(order, &ContigPageInfo::new(&zone.nr_free, order)));
        Self { node: zone.node, zone: zone.zone, thousandths: thousandths.collect() }
    }

    /// Writes the zone's line; what stands before the point is at least `width` wide.
    fn write(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        write!(f, "Node {}, zone {:>8} ", self.node, self.zone)?;
        for index in &self.thousandths {
            // As in the kernel, the minus of a number above -1 is behind the point.
            write!(f, "{:>width$}.{:03} ", index / 1000, index % 1000)?;
        }
        f.write_str("\n")
    }
}

/// The unusable free space index of every populated zone ([`unusable_free_index`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnusableIndex {
    /// The zones that have memory.
    pub zones: Vec<ZoneIndices>,
}

impl fmt::Display for UnusableIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.zones.iter().try_for_each(|zone| zone.write(f, 1))
    }
}

/// The external fragmentation index of every populated zone ([`fragmentation_index`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ExtfragIndex {
    /// The zones that have memory.
    pub zones: Vec<ZoneIndices>,
}

impl fmt::Display for ExtfragIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.zones.iter().try_for_each(|zone| zone.write(f, 2))
    }
}

/// ```
/// use gfp::{Allocator, Order};
///
/// let info = Allocator::builder(64 << 20).build()?.buddyinfo();
/// // Nothing is in use, so that nothing is unusable, and no request would fail.
/// assert!(info.unusable_index().zones.iter().all(|zone| zone.thousandths[0] == 0));
/// assert!(info.extfrag_index().zones.iter().all(|zone| zone.thousandths[0] == -1000));
/// # Ok::<(), gfp::BuildError>(())
/// ```
impl Buddyinfo {
    /// Returns the share of each zone's free memory that a request has no use for, by its order.
    #[must_use]
    pub fn unusable_index(&self) -> UnusableIndex {
        let of = |zone| ZoneIndices::of(zone, unusable_free_index);
        UnusableIndex { zones: self.zones.iter().map(of).collect() }
    }

    /// Returns why a request would fail in each zone, by its order.
    #[must_use]
    pub fn extfrag_index(&self) -> ExtfragIndex {
        let of = |zone| ZoneIndices::of(zone, fragmentation_index);
        ExtfragIndex { zones: self.zones.iter().map(of).collect() }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use proptest::prelude::*;

    use super::super::proc_text;
    use super::*;

    fn buddyinfo(nr_free: &[u64]) -> Buddyinfo {
        let zone = BuddyinfoZone { node: 0, zone: ZoneType::Normal, nr_free: nr_free.to_vec() };
        Buddyinfo { zones: vec![zone] }
    }

    #[test]
    fn a_thousand_frames_in_400_small_blocks_fail_order_4_for_fragmentation() {
        let info = ContigPageInfo { free_pages: 1000, free_blocks_total: 400, free_blocks_suitable: 0 };
        assert_eq!(fragmentation_index(Order::new(4), &info), 842);
    }

    #[test]
    fn nothing_free_is_all_unusable_and_no_fragmentation() {
        let empty = buddyinfo(&[0, 0]);
        assert_eq!(empty.unusable_index().to_string(), "Node 0, zone   Normal 1.000 1.000 \n");
        assert_eq!(empty.extfrag_index().to_string(), "Node 0, zone   Normal  0.000  0.000 \n");
    }

    #[test]
    fn indices_have_three_places_and_signs_where_the_kernel_has_them() {
        // 3 frames and 3 pairs; then a single block of order 1 alone.
        assert_eq!(
            buddyinfo(&[3, 3, 0, 0]).unusable_index().to_string(),
            "Node 0, zone   Normal 0.000 0.333 1.000 1.000 \n"
        );
        assert_eq!(
            buddyinfo(&[3, 3, 0, 0]).extfrag_index().to_string(),
            "Node 0, zone   Normal -1.000 -1.000  0.459  0.646 \n"
        );
        assert_eq!(
            buddyinfo(&[0, 1, 0, 0]).extfrag_index().to_string(),
            "Node 0, zone   Normal -1.000 -1.000  0.-500  0.-250 \n"
        );
    }

    #[test]
    fn the_running_kernels_texts_are_reproduced() {
        if let Some(text) = proc_text::of_this_machine("/sys/kernel/debug/extfrag/unusable_index") {
            let zones = proc_text::parse_indices(&text).expect("the reader knows the format");
            assert_eq!(UnusableIndex { zones }.to_string(), text);
        }
        if let Some(text) = proc_text::of_this_machine("/sys/kernel/debug/extfrag/extfrag_index") {
            let zones = proc_text::parse_indices(&text).expect("the reader knows the format");
            assert_eq!(ExtfragIndex { zones }.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn indices_are_the_fractions_rounded_as_integers_are(
            draws in prop::collection::vec((0u8..6, 0u64..1 << 11), 1..=19),
        ) {
            // Of half of the orders nothing is free, of some much.
            let nr_free: Vec<u64> = draws.into_iter().map(|(kind, number)| match kind {
                0..3 => 0,
                3..5 => number % 50,
                _ => number,
            }).collect();
            // Every free block by itself, as its number of frames.
            let blocks: Vec<i128> =
                (0..).zip(&nr_free).flat_map(|(order, &n)| (0..n).map(move |_| 1 << order)).collect();
            let free: i128 = blocks.iter().sum();
            let count = i128::try_from(blocks.len()).expect("small");
            let (unusable, extfrag) = (buddyinfo(&nr_free).unusable_index(), buddyinfo(&nr_free).extfrag_index());
            for (order, (unusable, extfrag)) in
                unusable.zones[0].thousandths.iter().zip(&extfrag.zones[0].thousandths).enumerate()
            {
                let (unusable, extfrag) = (i128::from(*unusable), i128::from(*extfrag));
                let wanted = 1i128 << order;
                let too_small: i128 = blocks.iter().filter(|&&frames| frames < wanted).sum();
                // unusable = too small / free, rounded down.
                if free == 0 {
                    prop_assert_eq!((unusable, extfrag), (1000, 0));
                    continue;
                }
                prop_assert!(unusable * free <= 1000 * too_small && 1000 * too_small < (unusable + 1) * free);
                if too_small < free {
                    prop_assert_eq!(extfrag, -1000);
                    continue;
                }
                // 1 - index = (1 + free / wanted) / blocks, rounded down.
                let (numerator, denominator) = (1000 * (wanted + free), wanted * count);
                let rest = 1000 - extfrag;
                prop_assert!(rest * denominator <= numerator && numerator < (rest + 1) * denominator);
            }
        }
    }
}
