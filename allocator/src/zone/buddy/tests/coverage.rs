//! Which branches the steps went through, and that none was left out.

use std::collections::BTreeMap;

use super::{
    model::{Ask, Held, Taken},
    pageblocks::Change,
    reference::Step,
};
use crate::{gfp::AllocFlags, sync::Mutex};

/// Names of [`order_class`].
const ORDER_CLASSES: [&str; 5] = ["order 0", "orders 1 to 3", "orders 4 to 8", "order 9", "orders above 9"];

const fn order_class(order: u8) -> usize {
    match order {
        0 => 0,
        1..=3 => 1,
        4..=8 => 2,
        9 => 3,
        _ => 4,
    }
}

/// How often each branch was taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    pub(super) steps: u64,
    /// By kind of step and branch.
    counts: BTreeMap<(&'static str, String), u64>,
}

static TOTAL: Mutex<Option<Coverage>> = Mutex::new(None);

impl Coverage {
    fn count(&mut self, kind: &'static str, branch: impl Into<String>) {
        *self.counts.entry((kind, branch.into())).or_default() += 1;
    }

    pub(super) fn took(&mut self, step: &Step, ask: Ask, taken: &Taken) {
        let kind = match step {
            Step::Request { .. } | Step::Refill { .. } => "request",
            Step::Smallest { .. } => "rmqueue_smallest",
            _ => "rmqueue_frames",
        };
        self.count(kind, "all");
        self.count(kind, format!("{:?}", ask.kind));
        if kind == "rmqueue_frames" {
            return self.count(kind, if taken.pfns.is_empty() { "empty" } else { "found" });
        }
        let outcome = if taken.pfns.is_empty() { "refused" } else { "served" };
        self.count(kind, format!("{} {outcome}", ORDER_CLASSES[order_class(ask.order)]));
        if kind == "request" {
            self.request(step, ask, taken);
        }
    }

    fn request(&mut self, step: &Step, ask: Ask, taken: &Taken) {
        let mut found = taken.found.clone();
        found.sort_unstable_by_key(|&found| found as u8);
        found.dedup();
        for branch in found {
            self.count("request", format!("{branch:?}"));
            if ask.flags.contains(AllocFlags::NOFRAGMENT) {
                self.count("NOFRAGMENT", format!("{branch:?}"));
            }
        }
        if ask.flags.contains(AllocFlags::NOFRAGMENT) {
            self.count("NOFRAGMENT", "all");
        }
        if taken.claims_refused > 0 {
            self.count("request", "claim refused");
        }
        if !ask.grouped {
            self.count("request", "types not kept apart");
        }
        if matches!(step, Step::Refill { .. }) && taken.found.len() > 1 {
            self.count("request", "refill of several blocks");
            if taken.claimed + taken.stolen > 0 {
                self.count("request", "refill with fallback");
            }
        }
    }

    pub(super) fn freed(&mut self, blocks: &[Held], batch: bool) {
        self.count("free", "all");
        match blocks {
            _ if batch => self.count("free", "batch"),
            [held] => self.count("free", ORDER_CLASSES[order_class(held.order)]),
            _ => self.count("free", "most of what was held"),
        }
    }

    pub(super) fn turned_over(&mut self) {
        self.count("turn-over of a pageblock", "all");
    }

    pub(super) fn changed(&mut self, change: Change, done: bool) {
        self.count("pageblock", "all");
        self.count("pageblock", format!("{change:?} {}", if done { "done" } else { "refused" }));
    }

    pub(super) fn took_range(&mut self, done: bool) {
        self.count("range", "all");
        self.count("range", if done { "taken" } else { "in use" });
    }

    pub(super) fn reserved(&mut self, order: u8, done: bool) {
        self.count("reserve", "all");
        let size = if order > 9 { "large" } else { "small" };
        self.count("reserve", if done { size } else { "refused" });
    }

    pub(super) fn unreserved(&mut self, done: bool) {
        self.count("unreserve", "all");
        self.count("unreserve", if done { "done" } else { "nothing there" });
    }

    /// Adds what one case did to the sum over all.
    pub(super) fn add_to_total(&self) {
        let mut total = TOTAL.lock();
        let total = total.get_or_insert_default();
        total.steps += self.steps;
        for (branch, count) in &self.counts {
            *total.counts.entry(branch.clone()).or_default() += count;
        }
    }

    pub(super) fn total() -> Self {
        TOTAL.lock().clone().expect("a case has run")
    }

    /// Checks that at least `steps` steps were taken, and that each branch had its share of the steps of its kind.
    pub(super) fn check(&self, steps: u64) {
        assert!(self.steps >= steps, "{} steps of {steps}", self.steps);
        let mut branches: Vec<(&'static str, String)> = Vec::new();
        for class in ORDER_CLASSES {
            branches.push(("request", format!("{class} served")));
            branches.push(("request", format!("{class} refused")));
            branches.push(("free", class.to_owned()));
        }
        for kind in ["Unmovable", "Movable", "Reclaimable"] {
            branches.push(("request", kind.to_owned()));
            branches.push(("rmqueue_frames", kind.to_owned()));
        }
        let outcomes = [
            "OwnType",
            "Cma",
            "ClaimWhole",
            "ClaimPageblock",
            "claim refused",
            "Steal",
            "RefusedByNoFragment",
            "Nothing",
            "types not kept apart",
            "refill of several blocks",
            "refill with fallback",
        ];
        branches.extend(outcomes.map(|branch| ("request", branch.to_owned())));
        branches
            .extend(["ClaimWhole", "RefusedByNoFragment"].map(|branch| ("NOFRAGMENT", branch.to_owned())));
        branches.push(("free", "batch".to_owned()));
        branches.extend(["found", "empty"].map(|branch| ("rmqueue_frames", branch.to_owned())));
        for change in Change::ALL {
            branches.push(("pageblock", format!("{change:?} done")));
            branches.push(("pageblock", format!("{change:?} refused")));
        }
        branches.extend(["small", "large", "refused"].map(|branch| ("reserve", branch.to_owned())));
        branches.extend(["done", "nothing there"].map(|branch| ("unreserve", branch.to_owned())));
        branches.extend(["taken", "in use"].map(|branch| ("range", branch.to_owned())));
        for (kind, branch) in branches {
            let all = self.counts[&(kind, "all".to_owned())];
            let count = self.counts.get(&(kind, branch.clone())).copied().unwrap_or(0);
            assert!(count * 100 >= all, "{kind}: {branch} came up {count} times in {all}\n{self:#?}");
        }
        for once in [("turn-over of a pageblock", "all"), ("free", "most of what was held")] {
            assert!(self.counts.contains_key(&(once.0, once.1.to_owned())), "{once:?}");
        }
    }
}
