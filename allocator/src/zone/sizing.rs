//! How large a zone's watermarks and reserves are.
//!
//! Pure functions over the sizes of zones, computed when an allocator is built, grown or re-tuned. Frames
//! unless the name says otherwise; formulas and defaults are those of Linux 6.x.
//!
//! ```
//! use gfp::{gfp::ZoneType, zone::sizing::{ZoneSize, max_boost, min_free_kbytes, per_zone_wmarks, total_reserve}};
//!
//! // 64 GiB, as one zone.
//! let zone = ZoneSize { kind: ZoneType::Normal, managed: 64 << 18 };
//! let kbytes = min_free_kbytes(zone.managed, None);
//! assert_eq!(kbytes, 32 << 10);
//! let marks = per_zone_wmarks(&[zone], kbytes, 10).next().expect("a zone");
//! assert_eq!((marks.min, marks.low, marks.high), (8192, 24_969, 41_746));
//! assert_eq!(total_reserve(zone.managed, &[0; 5], &marks), marks.high);
//! assert_eq!(max_boost(&marks, zone.managed, 512, 15_000), marks.high * 3 / 2);
//! ```

use super::watermark::Watermarks;
use crate::gfp::{NR_ZONE_TYPES, ZoneType};

/// A zone as far as sizing needs it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ZoneSize {
    /// What kind of zone it is.
    pub kind: ZoneType,
    /// The frames it manages.
    pub managed: u64,
}

/// Which share of the memory above a zone is kept in it from requests that could go there: one part in `ratio`, by
/// zone type; 0 keeps nothing.
pub const LOWMEM_RESERVE_RATIO: [u64; NR_ZONE_TYPES] = [256, 256, 32, 0, 0];

/// The distance between watermarks, in ten-thousandths of the zone (kernel: `vm.watermark_scale_factor`, 1 to 3000).
pub const WATERMARK_SCALE_FACTOR: u64 = 10;

/// The largest boost, in ten-thousandths of the high watermark; 0 turns boosting off (kernel: `vm.watermark_boost_factor`).
pub const WATERMARK_BOOST_FACTOR: u64 = 15_000;

/// The bounds of the computed minimum, in KiB. The upper one was 65536 before 5.8.
const MIN_FREE_KBYTES_RANGE: (u64, u64) = (128, 262_144);

/// The bounds of the minimum watermark of HIGHMEM and MOVABLE.
const NON_LOWMEM_MIN_RANGE: (u64, u64) = (32, 128);

/// KiB in a frame.
const FRAME_KBYTES: u64 = 4;

/// Returns `a * b / c` rounded down, without overflow on the way; 0 for `c` = 0.
fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    let quotient = (u128::from(a) * u128::from(b)).checked_div(u128::from(c)).unwrap_or(0);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// Returns the frames that zone `i` keeps from requests whose highest zone is `j`, as `[i][j]`, by zone type.
///
/// `zones` are those of one node. Zone `i` keeps the managed frames of all zones above it up to `j`, divided by
/// its ratio; nothing from its own requests, nothing when it manages no frames. Each row never falls with `j`.
///
/// ```
/// use gfp::{gfp::ZoneType, zone::sizing::{LOWMEM_RESERVE_RATIO, ZoneSize, lowmem_reserve}};
///
/// let zone = |kind, managed| ZoneSize { kind, managed };
/// let zones = [zone(ZoneType::Dma, 4096), zone(ZoneType::Dma32, 1 << 20), zone(ZoneType::Normal, 1 << 20)];
/// let kept = lowmem_reserve(&zones, &LOWMEM_RESERVE_RATIO)[ZoneType::Dma.index()];
/// // From its own requests nothing; from those for NORMAL, 1/256 of all that they could use instead.
/// assert_eq!((kept[ZoneType::Dma.index()], kept[ZoneType::Normal.index()]), (0, (2 << 20) / 256));
/// ```
#[doc(alias = "setup_per_zone_lowmem_reserve")]
#[must_use]
pub fn lowmem_reserve(
    zones: &[ZoneSize],
    ratio: &[u64; NR_ZONE_TYPES],
) -> [[u64; NR_ZONE_TYPES]; NR_ZONE_TYPES] {
    let mut managed = [0; NR_ZONE_TYPES];
    for zone in zones {
        managed[zone.kind.index()] += zone.managed;
    }
    let mut reserve = [[0; NR_ZONE_TYPES]; NR_ZONE_TYPES];
    for (i, row) in reserve.iter_mut().enumerate().filter(|&(i, _)| managed[i] > 0 && ratio[i] > 0) {
        let mut above = 0;
        for j in i + 1..NR_ZONE_TYPES {
            above += managed[j];
            row[j] = above / ratio[i];
        }
    }
    reserve
}

/// Returns the minimum to keep free, in KiB: four times the square root of the low memory in KiB.
///
/// `lowmem` is in frames. The result is between 128 and 262144 KiB; `user` wins where it is larger.
#[doc(alias = "calculate_min_free_kbytes")]
#[must_use]
pub fn min_free_kbytes(lowmem: u64, user: Option<u64>) -> u64 {
    let (least, most) = MIN_FREE_KBYTES_RANGE;
    let computed = lowmem.saturating_mul(FRAME_KBYTES).saturating_mul(16).isqrt().clamp(least, most);
    computed.max(user.unwrap_or(0))
}

/// Returns the watermarks of each of `zones`, without boost, in their order.
///
/// `min_free_kbytes` is shared out in proportion to what the low zones manage. HIGHMEM and MOVABLE have a small
/// minimum of their own. The levels above are apart by a quarter of the share or by `scale_factor`
/// ten-thousandths of the zone, whichever is more.
#[doc(alias = "setup_per_zone_wmarks")]
pub fn per_zone_wmarks(
    zones: &[ZoneSize],
    min_free_kbytes: u64,
    scale_factor: u64,
) -> impl Iterator<Item = Watermarks> {
    let pages_min = min_free_kbytes / FRAME_KBYTES;
    let lowmem: u64 = zones.iter().filter(|zone| zone.kind.is_lowmem()).map(|zone| zone.managed).sum();
    zones.iter().map(move |zone| {
        let share = mul_div(pages_min, zone.managed, lowmem);
        let min = if zone.kind.is_lowmem() {
            share
        } else {
            (zone.managed / 1024).clamp(NON_LOWMEM_MIN_RANGE.0, NON_LOWMEM_MIN_RANGE.1)
        };
        let gap = (share / 4).max(mul_div(zone.managed, scale_factor, 10_000));
        Watermarks { min, low: min + gap, high: min + 2 * gap, promo: min + 3 * gap, boost: 0 }
    })
}

/// Returns the frames of one zone that no reclaim-free request can count on: its largest reserve and high watermark.
///
/// Summed over all zones this is the kernel's `totalreserve_pages`.
#[doc(alias = "totalreserve_pages")]
#[must_use]
pub fn total_reserve(managed: u64, lowmem_reserve: &[u64; NR_ZONE_TYPES], marks: &Watermarks) -> u64 {
    let reserve = lowmem_reserve.iter().copied().max().unwrap_or(0);
    managed.min(reserve + marks.high + marks.boost)
}

/// Whether a boost changed the marks.
#[must_use = "a boost counts only when the background thread is told"]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Boost {
    /// All levels are higher now: the background thread should run.
    Raised,
    /// Boosting is off, or the zone is too small for it.
    Unchanged,
}

/// Returns the most that a zone's levels can be raised by, or 0 where boosting is off.
#[must_use]
pub fn max_boost(marks: &Watermarks, managed: u64, pageblock_frames: u64, boost_factor: u64) -> u64 {
    if managed < 4 * pageblock_frames {
        return 0;
    }
    match mul_div(marks.high, boost_factor, 10_000) {
        0 => 0,
        most => most.max(pageblock_frames),
    }
}

/// Raises all levels by one pageblock, up to [`max_boost`] (kernel: `boost_watermark`, 5.0 on).
///
/// Called when a request is about to mix types in a pageblock, so that reclaim starts before it must do so again.
///
/// ```
/// use gfp::zone::{sizing::{Boost, boost_watermark}, watermark::Watermarks};
///
/// let mut marks = Watermarks { min: 300, low: 500, high: 700, promo: 900, boost: 0 };
/// let boosts = [(); 3].map(|()| (boost_watermark(&mut marks, 1 << 20, 512, 15_000), marks.boost));
/// assert_eq!(boosts, [(Boost::Raised, 512), (Boost::Raised, 1024), (Boost::Raised, 1050)]);
/// ```
pub fn boost_watermark(
    marks: &mut Watermarks,
    managed: u64,
    pageblock_frames: u64,
    boost_factor: u64,
) -> Boost {
    match max_boost(marks, managed, pageblock_frames, boost_factor) {
        0 => Boost::Unchanged,
        most => {
            marks.boost = (marks.boost + pageblock_frames).min(most);
            Boost::Raised
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

    use proptest::prelude::*;

    use super::*;
    use ZoneType::{Dma, Dma32, HighMem, Movable, Normal};

    const PAGEBLOCK: u64 = 512;

    fn zone(kind: ZoneType, managed: u64) -> ZoneSize {
        ZoneSize { kind, managed }
    }

    #[test]
    fn min_free_follows_the_published_table() {
        let mib_and_kbytes = [
            (16, 512),
            (64, 1024),
            (256, 2048),
            (1 << 10, 4096),
            (4 << 10, 8192),
            (16 << 10, 16_384),
            (4 << 20, 262_144),
            (16 << 20, 262_144),
            (0, 128),
        ];
        for (mib, kbytes) in mib_and_kbytes {
            assert_eq!(min_free_kbytes(mib * 256, None), kbytes, "{mib} MiB");
        }
    }

    #[test]
    fn a_users_minimum_wins_only_when_larger() {
        assert_eq!(min_free_kbytes(16 << 18, Some(16_385)), 16_385);
        assert_eq!(min_free_kbytes(16 << 18, Some(100)), 16_384);
    }

    #[test]
    fn watermarks_of_a_64_gib_zone() {
        let zones = [zone(Normal, 16_777_216)];
        let kbytes = min_free_kbytes(zones[0].managed, None);
        assert_eq!(kbytes, 32_768);
        let marks = per_zone_wmarks(&zones, kbytes, WATERMARK_SCALE_FACTOR).next().unwrap();
        let expected = Watermarks { min: 8192, low: 24_969, high: 41_746, promo: 58_523, boost: 0 };
        assert_eq!(marks, expected);
        assert_eq!(max_boost(&marks, zones[0].managed, PAGEBLOCK, WATERMARK_BOOST_FACTOR), 62_619);
    }

    #[test]
    fn movable_and_highmem_have_a_small_minimum_of_their_own() {
        let zones = [zone(Normal, 1 << 20), zone(HighMem, 1 << 10), zone(Movable, 1 << 20)];
        let min: Vec<u64> = per_zone_wmarks(&zones, 4096, 10).map(|marks| marks.min).collect();
        assert_eq!(min, [1024, 32, 128]);
    }

    #[test]
    fn a_lower_zone_keeps_a_share_of_what_is_above_it() {
        let zones = [zone(Dma, 3840), zone(Dma32, 772_808), zone(Normal, 425_984)];
        let reserve = lowmem_reserve(&zones, &LOWMEM_RESERVE_RATIO);
        assert_eq!(reserve[Dma.index()], [0, 3018, 4682, 4682, 4682]);
        assert_eq!(reserve[Dma32.index()], [0, 0, 1664, 1664, 1664]);
        assert_eq!(reserve[Normal.index()], [0; 5]);
        assert_eq!(reserve[Movable.index()], [0; 5]);
        let off = lowmem_reserve(&zones, &[0, 256, 32, 0, 0]);
        assert_eq!((off[Dma.index()], off[Dma32.index()]), ([0; 5], reserve[Dma32.index()]));
    }

    #[test]
    fn boost_rises_by_a_pageblock_up_to_its_maximum() {
        let mut marks = Watermarks { min: 300, low: 500, high: 700, promo: 900, boost: 0 };
        for boost in [512, 1024, 1050, 1050] {
            assert_eq!(boost_watermark(&mut marks, 1 << 20, PAGEBLOCK, 15_000), Boost::Raised);
            assert_eq!(marks.boost, boost);
        }
    }

    #[test]
    fn small_zones_and_a_factor_of_zero_are_not_boosted() {
        let start = Watermarks { high: 700, ..Watermarks::default() };
        let mut marks = start;
        assert_eq!(boost_watermark(&mut marks, 4 * PAGEBLOCK - 1, PAGEBLOCK, 15_000), Boost::Unchanged);
        assert_eq!(boost_watermark(&mut marks, 1 << 20, PAGEBLOCK, 0), Boost::Unchanged);
        assert_eq!(marks, start);
        assert_eq!(boost_watermark(&mut marks, 4 * PAGEBLOCK, PAGEBLOCK, 15_000), Boost::Raised);
        let mut unset = Watermarks::default();
        assert_eq!(boost_watermark(&mut unset, 1 << 20, PAGEBLOCK, 15_000), Boost::Unchanged);
    }

    #[test]
    fn total_reserve_is_the_largest_reserve_and_the_high_mark_within_the_zone() {
        let marks = Watermarks { high: 41_746, ..Watermarks::default() };
        assert_eq!(total_reserve(1 << 24, &[0, 5, 7, 7, 7], &marks), 41_753);
        assert_eq!(total_reserve(100, &[0; 5], &marks), 100);
        let boosted = Watermarks { boost: 512, ..marks };
        assert_eq!(total_reserve(1 << 24, &[0; 5], &boosted), 42_258);
    }

    fn any_zones() -> impl Strategy<Value = Vec<ZoneSize>> {
        let managed = prop_oneof![3 => 0_u64..1 << 32, 1 => Just(0)];
        prop::array::uniform5(managed).prop_map(|managed| {
            ZoneType::ALL.into_iter().zip(managed).map(|(kind, managed)| ZoneSize { kind, managed }).collect()
        })
    }

    proptest! {
        #[test]
        fn reserves_never_fall_with_the_highest_zone(zones in any_zones(), ratio in prop::array::uniform5(0_u64..1000)) {
            for (i, row) in lowmem_reserve(&zones, &ratio).iter().enumerate() {
                prop_assert!(row.is_sorted());
                prop_assert!(row[..=i].iter().all(|&frames| frames == 0));
            }
        }

        #[test]
        fn a_reserve_is_a_share_of_all_above_and_nothing_where_nothing_is_or_none_is_asked(
            zones in any_zones(), ratio in prop::array::uniform5(prop_oneof![0_u64..1000, Just(0)])
        ) {
            let reserve = lowmem_reserve(&zones, &ratio);
            for (i, j) in (0..NR_ZONE_TYPES).flat_map(|i| (i + 1..NR_ZONE_TYPES).map(move |j| (i, j))) {
                let above: u64 = zones[i + 1..=j].iter().map(|zone| zone.managed).sum();
                let share = above.checked_div(ratio[i]).filter(|_| zones[i].managed > 0);
                prop_assert_eq!(reserve[i][j], share.unwrap_or(0), "{} {}", i, j);
            }
        }

        #[test]
        fn levels_are_in_order(zones in any_zones(), kbytes in 128_u64..1 << 40, scale in 1_u64..=3000) {
            for marks in per_zone_wmarks(&zones, kbytes, scale) {
                let levels = [marks.min, marks.low, marks.high, marks.promo];
                prop_assert!(levels.is_sorted());
            }
        }

        #[test]
        fn boost_never_exceeds_its_maximum(
            high in 0_u64..1 << 24, managed in 0_u64..1 << 32, factor in 0_u64..100_000, times in 0..200
        ) {
            let mut marks = Watermarks { high, ..Watermarks::default() };
            for _ in 0..times {
                let _ = boost_watermark(&mut marks, managed, PAGEBLOCK, factor);
            }
            prop_assert!(marks.boost <= max_boost(&marks, managed, PAGEBLOCK, factor));
        }
    }
}
