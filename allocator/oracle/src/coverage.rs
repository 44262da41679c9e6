//! Which branches the calls went through, and that none was left out.

use std::collections::{BTreeMap, BTreeSet};

/// All branches, by what they are branches of.
const BRANCHES: [(&str, &[&str]); 35] = [
    (
        "call",
        &[
            "Alloc",
            "OnNode",
            "FromNodes",
            "OfPolicy",
            "Bulk",
            "Exact",
            "NoLock",
            "Keep",
            "Release",
            "Free",
            "FreeBulk",
            "FreeExact",
            "Share",
            "Get",
            "Put",
            "Frag",
            "FreeFrag",
            "DrainFrags",
            "Layout",
            "Resize",
            "FreeLayout",
            "Policy",
            "MemsAllowed",
            "Reclaiming",
            "Enter",
            "Leave",
            "Isolate",
            "UndoIsolate",
            "Offline",
            "Online",
            "Contig",
            "Cma",
            "FreeContig",
            "Request",
            "EnterToken",
            "Cancel",
            "LeaveToken",
            "Dirty",
            "Trim",
            "Bag",
            "FillBag",
            "DropBag",
            "DrainAll",
            "Age",
            "EndThread",
            "Check",
        ],
    ),
    ("answer", &["served", "refused", "senseless", "no zone", "no node"]),
    ("by", &["Allocator", "Handle", "OtherHandle", "Thread"]),
    (
        "policy",
        &["default", "local", "preferred", "preferred many", "bind", "interleave", "weighted interleave"],
    ),
    ("zone", &["first zone", "later zone"]),
    ("kind of zone", &["DMA", "DMA32", "Normal", "HighMem"]),
    ("bulk", &["all", "some"]),
    ("exact", &["served", "refused"]),
    ("nolock", &["served", "refused"]),
    (
        "free",
        &[
            "Drop",
            "Allocator",
            "Handle",
            "Stranger",
            "Thread",
            "Cold",
            "NoLock",
            "RawParts",
            "Shared",
            "Split",
        ],
    ),
    ("put", &["the last", "not the last"]),
    ("fragment", &["page at hand", "another page", "senseless"]),
    ("page for fragments", &["of order 3", "single frame", "none"]),
    ("layout", &["served", "refused", "not aligned", "empty"]),
    ("resize", &["in place", "moved", "refused", "stayed", "to nothing"]),
    ("mems_allowed", &["all", "some"]),
    ("isolate", &["free", "in use", "refused"]),
    ("undo isolate", &["some", "none"]),
    ("offline", &["done", "in use", "refused"]),
    ("online", &["done", "refused"]),
    ("contig", &["served", "refused"]),
    ("cma", &["served", "refused"]),
    ("lent", &["by an area"]),
    ("limit", &["Unlimited", "Far", "Past", "Live", "Cancelled", "PastAndCancelled"]),
    ("stopped", &["served", "cancelled", "late"]),
    ("dirty", &["counted", "out of range", "no node"]),
    ("write", &["below the limit", "elsewhere", "over the limit"]),
    ("trim", &["some", "nothing"]),
    ("reporting", &["some", "nothing"]),
    ("mark", &["above the minimum", "from a part of the reserve", "from all of the reserve"]),
    ("highatomic", &["added", "used", "not added", "given up"]),
    ("reclaim", &["no shrinker", "nothing came back", "served", "not enough"]),
    ("shrinker", &["Willing", "OfNode", "Boastful", "Reluctant", "Leaving"]),
    ("kswapd", &["nothing to do", "no shrinker", "nothing came back", "memory came back"]),
    ("order", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
];

/// A branch, and what it is a branch of.
type Branch = (&'static str, String);

/// How many calls took each branch, by what it is a branch of. A call that does something many times counts once.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    calls: BTreeMap<Branch, u64>,
    /// What the call that is being made took already.
    taken: BTreeSet<Branch>,
}

impl Coverage {
    /// Notes that another call begins.
    pub(crate) fn begin(&mut self) {
        self.taken.clear();
    }

    pub(crate) fn count(&mut self, kind: &'static str, branch: impl Into<String>) {
        let branch = (kind, branch.into());
        if self.taken.insert(branch.clone()) {
            *self.calls.entry(branch).or_default() += 1;
        }
    }

    /// Adds what another program did.
    pub fn add(&mut self, other: &Self) {
        for (branch, count) in &other.calls {
            *self.calls.entry(branch.clone()).or_default() += count;
        }
    }

    /// Returns how many calls took a branch.
    #[must_use]
    pub fn times(&self, kind: &'static str, branch: &str) -> u64 {
        self.calls.get(&(kind, branch.to_owned())).copied().unwrap_or(0)
    }

    /// Checks that each branch was at least one in a hundred of its kind, and that there is no other.
    ///
    /// # Panics
    /// When one was rarer, or is not known.
    pub fn check(&self) {
        for (kind, branch) in self.calls.keys() {
            let known = BRANCHES
                .iter()
                .any(|(other, branches)| other == kind && branches.iter().any(|other| other == branch));
            assert!(known, "{kind}: {branch} is not among the branches");
        }
        let mut rare = Vec::new();
        for (kind, branches) in BRANCHES {
            let all: u64 = branches.iter().map(|branch| self.times(kind, branch)).sum();
            let is_rare = |branch: &&&str| self.times(kind, branch) * 100 < all.max(1);
            let found = branches.iter().filter(is_rare);
            rare.extend(
                found.map(|branch| format!("{kind}: {branch} {} of {all}", self.times(kind, branch))),
            );
        }
        assert!(rare.is_empty(), "too rare: {rare:#?}\n{:#?}", self.calls);
    }
}
