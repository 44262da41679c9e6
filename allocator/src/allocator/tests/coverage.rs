//! Which branches the operations went through, and that none was left out.

use std::collections::BTreeMap;

use super::rules::Asked;
use crate::{
    gfp::{MigrateType, gfp_migratetype},
    sync::Mutex,
};

/// How often each branch was taken, by kind of operation and branch.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    pub(super) steps: u64,
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

static TOTAL: Mutex<Option<Coverage>> = Mutex::new(None);

impl Coverage {
    pub(super) fn count(&mut self, kind: &'static str, branch: &'static str) {
        *self.counts.entry((kind, branch)).or_default() += 1;
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        self.count("alloc", "all");
        self.count(
            "alloc",
            match asked.order {
                0 => "order 0",
                1..=3 => "orders 1 to 3",
                4..=8 => "orders 4 to 8",
                9 => "order 9",
                _ => "orders above 9",
            },
        );
        self.count(
            "alloc",
            match gfp_migratetype(asked.gfp) {
                Ok(MigrateType::Unmovable) => "unmovable",
                Ok(MigrateType::Movable) => "movable",
                _ => "reclaimable",
            },
        );
    }

    /// Counts by what right a sound request was served, or how it was refused.
    pub(super) fn served(&mut self, how: &'static str) {
        let plenty = ["at the low mark", "cached, at the low mark of order 0"];
        if plenty.contains(&how) {
            self.count("alloc", how);
        } else {
            self.count("below the low mark", "all");
            self.count("below the low mark", how);
        }
    }

    /// Counts what the fallbacks of one request did.
    pub(super) fn fallbacks(&mut self, claimed: u64, stolen: u64, boosts: u64) {
        let branches = [("claimed", claimed), ("stolen", stolen), ("boosted", boosts)];
        for (branch, times) in branches {
            if times > 0 {
                self.count("fallback", branch);
            }
        }
        if claimed + stolen > 0 {
            self.count("fallback", "all");
        }
    }

    /// Counts changes of what is set aside, from its size before and after a request.
    pub(super) fn reserve(&mut self, before: u64, after: u64) {
        if before != after {
            self.count("highatomic", if before < after { "set aside" } else { "given up" });
        }
    }

    /// Counts what became of a block that was freed into a cache.
    pub(super) fn put(&mut self, branch: &'static str) {
        if branch == "cached" {
            self.count("free", branch);
        } else {
            self.count("drain by a free", "all");
            self.count("drain by a free", branch);
        }
    }

    /// Adds what one case did to the sum over all.
    pub(super) fn add_to_total(&self) {
        let mut total = TOTAL.lock();
        let total = total.get_or_insert_default();
        total.steps += self.steps;
        for (&branch, count) in &self.counts {
            *total.counts.entry(branch).or_default() += count;
        }
    }

    pub(super) fn total() -> Self {
        TOTAL.lock().clone().expect("a case has run")
    }

    /// Checks that at least `operations` blocks were asked for or freed, and that each branch had its share of the
    /// operations of its kind.
    pub(super) fn check(&self, operations: u64) {
        let of = |kind, branch| self.counts.get(&(kind, branch)).copied().unwrap_or(0);
        let done = of("alloc", "all") + of("free", "all");
        assert!(done >= operations, "{done} operations of {operations}");
        let branches: [(&str, &[&str]); 6] = [
            (
                "alloc",
                &[
                    "order 0",
                    "orders 1 to 3",
                    "orders 4 to 8",
                    "order 9",
                    "orders above 9",
                    "unmovable",
                    "movable",
                    "reclaimable",
                    "hit",
                    "refill",
                    "direct",
                    "at the low mark",
                    "bad request",
                ],
            ),
            (
                "below the low mark",
                &[
                    "at the minimum",
                    "with a reserve",
                    "without marks",
                    "after a drain",
                    "refused",
                    "refused after a drain",
                ],
            ),
            ("DMA32 for NORMAL", &["no mixing of types"]),
            ("free", &["cached", "direct", "by another thread"]),
            ("drain by a free", &["overflow", "DrainAll", "cache full"]),
            ("fallback", &["claimed", "stolen", "boosted"]),
        ];
        for (kind, branches) in branches {
            let all = of(kind, "all");
            for &branch in branches {
                let count = of(kind, branch);
                assert!(count * 100 >= all, "{kind}: {branch} came up {count} times in {all}\n{self:#?}");
            }
        }
        for branch in ["set aside", "given up", "served"] {
            assert!(of("highatomic", branch) > 0, "{branch} never came up\n{self:#?}");
        }
        for branch in ["drain_all", "check", "thread exit"] {
            assert!(of("step", branch) > 0, "{branch} never came up\n{self:#?}");
        }
    }
}
