//! How much a shrinker is asked for: the arithmetic of `do_shrink_slab` (6.x), without the shrinker.

/// The batch where none is given (`SHRINK_BATCH`).
const SHRINK_BATCH: u64 = 128;

/// More objects count as so many: four times as many is a number still. No memory has 2^61 bytes.
const MOST_OBJECTS: u64 = 1 << 61;

/// What a shrinker is, as far as its share depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// What it costs to make an object again; 0 means nothing.
    pub(super) seeks: u32,
    /// How many objects are scanned at a time; 0 means the usual number.
    pub(super) batch: u64,
}

/// The share of one shrinker in one round, in objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    objects: u64,
    batch: u64,
    /// What had been put off.
    deferred: u64,
    /// What this round adds.
    delta: u64,
    /// What is left to be scanned now.
    total: u64,
    scanned: u64,
}

impl Share {
    /// Computes the share at a priority, 12 for little and 0 for all, of a shrinker with `objects` that put off `deferred`.
    pub(super) fn new(objects: u64, deferred: u64, priority: u8, cost: Cost) -> Self {
        let objects = objects.min(MOST_OBJECTS);
        let at_priority = |number: u64| number.checked_shr(u32::from(priority)).unwrap_or(0);
        let delta = match u64::from(cost.seeks) {
            0 => objects / 2,
            seeks => at_priority(objects) * 4 / seeks,
        };
        let total = at_priority(deferred).saturating_add(delta).min(2 * objects);
        let batch = if cost.batch == 0 { SHRINK_BATCH } else { cost.batch };
        Self { objects, batch, deferred, delta, total, scanned: 0 }
    }

    /// Returns how many objects the next scan is for, if there is one: a whole batch, or all that there are.
    pub(super) fn next_scan(&self) -> Option<u64> {
        let is_worth_it = self.total >= self.batch || self.total >= self.objects;
        (self.objects > 0 && is_worth_it).then(|| self.batch.min(self.total))
    }

    /// Notes that so many objects were scanned.
    pub(super) const fn scanned(&mut self, objects: u64) {
        self.total = self.total.saturating_sub(objects);
        self.scanned = self.scanned.saturating_add(objects);
    }

    /// Returns what is put off to the next round.
    pub(super) fn left_over(&self) -> u64 {
        let asked = u128::from(self.deferred) + u128::from(self.delta);
        let left = asked.saturating_sub(u128::from(self.scanned)).min(u128::from(2 * self.objects));
        u64::try_from(left).unwrap_or(2 * self.objects)
    }

    /// Returns what this round adds.
    pub(super) const fn delta(&self) -> u64 {
        self.delta
    }

    /// Returns what is left to be scanned now.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules as they are written down, in numbers that cannot overflow; returns the scans and what is put off.
    fn by_the_rules(
        (objects, deferred, priority, seeks, batch): (u64, u64, u8, u32, u64),
        scanned_of: impl Fn(u64) -> u64,
        most_scans: usize,
    ) -> (Vec<u64>, u64) {
        let n = u128::from(objects.min(1 << 61));
        let (deferred, seeks) = (u128::from(deferred), u128::from(seeks));
        let batch = if batch == 0 { 128 } else { i128::from(batch) };
        let delta = ((n >> priority) * 4).checked_div(seeks).unwrap_or(n / 2);
        let mut total = i128::try_from(((deferred >> priority) + delta).min(2 * n)).unwrap();
        let (mut scans, mut scanned) = (Vec::new(), 0_u128);
        while n > 0 && (total >= batch || total >= i128::try_from(n).unwrap()) && scans.len() < most_scans {
            let nr_to_scan = u64::try_from(batch.min(total)).unwrap();
            scans.push(nr_to_scan);
            let nr_scanned = scanned_of(nr_to_scan);
            total -= i128::from(nr_scanned);
            scanned += u128::from(nr_scanned);
        }
        (scans, u64::try_from((deferred + delta).saturating_sub(scanned).min(2 * n)).unwrap())
    }

    fn as_computed(
        (objects, deferred, priority, seeks, batch): (u64, u64, u8, u32, u64),
        scanned_of: impl Fn(u64) -> u64,
        most_scans: usize,
    ) -> (Vec<u64>, u64) {
        let mut share = Share::new(objects, deferred, priority, Cost { seeks, batch });
        let mut scans = Vec::new();
        while let Some(nr_to_scan) = share.next_scan().filter(|_| scans.len() < most_scans) {
            scans.push(nr_to_scan);
            share.scanned(scanned_of(nr_to_scan));
        }
        (scans, share.left_over())
    }

    /// Numbers of every size.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
    }

    proptest! {
        #[test]
        fn shares_are_as_the_rules_say(
            numbers in (number(), number(), 0..=12_u8, (any::<u32>(), 0..32_u32).prop_map(|(bits, shift)| bits >> shift), number()),
            (part, more) in (0..=4_u64, 0..3_u64),
            most_scans in 1..200_usize,
        ) {
            // A shrinker may scan less than it was asked for, or more.
            let scanned_of = |asked: u64| (asked / 4 * part).saturating_add(more);
            prop_assert_eq!(
                as_computed(numbers, scanned_of, most_scans),
                by_the_rules(numbers, scanned_of, most_scans)
            );
        }

        #[test]
        fn a_share_is_at_most_twice_the_objects_and_ends(
            (objects, deferred, seeks) in (0..100_000_u64, number(), 0..9_u32),
            priority in 0..=12_u8,
        ) {
            let (scans, left) = as_computed((objects, deferred, priority, seeks, 128), |asked| asked, usize::MAX);
            prop_assert!(scans.iter().sum::<u64>() <= 2 * objects);
            prop_assert!(left <= 2 * objects);
        }
    }

    #[test]
    fn the_kernels_usual_numbers() {
        let usual =
            |objects, deferred, priority| as_computed((objects, deferred, priority, 2, 128), |n| n, 100);
        assert_eq!(usual(0, 500, 0), (vec![], 0), "nothing is there, and nothing is put off");
        assert_eq!(usual(100, 0, 12), (vec![], 0), "100 >> 12 is nothing");
        assert_eq!(usual(4096 * 10, 0, 12), (vec![], 20), "less than a batch is put off");
        assert_eq!(usual(4096 * 10, 128 << 12, 12), (vec![128], 2 * 4096 * 10));
        assert_eq!(usual(100, 0, 0), (vec![128], 72), "of twice all there is, less than all is put off");
        assert_eq!(usual(1000, 0, 2), (vec![128, 128, 128], 116));
    }
}
