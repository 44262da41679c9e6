//! Which operations there are, how frequent they are, and which one is next.

use gfp::{Gfp, MemPolicy, Nid, NodeMask, Order, frame::NODES_MAX};

use crate::workload::Rng;

/// Whether operations of a kind leave the thread with more or with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Take,
    Give,
    Neither,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $side:ident $weight:literal;)+) => {
        /// A kind of operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $kind,)+ }

        impl Kind {
            /// All kinds.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// Returns the name of the call, or what is done.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            const fn side(self) -> Side {
                match self { $(Self::$kind => Side::$side,)+ }
            }

            /// Returns how frequent it is, in comparison to others.
            const fn weight(self) -> usize {
                match self { $(Self::$kind => $weight,)+ }
            }
        }
    };
}

kinds! {
    /// A block by the policy in force, from a handle or without one.
    Alloc "alloc_pages" Take 2800;
    /// A block from a node, or from there on.
    OnNode "alloc_pages_node" Take 400;
    /// A block from some nodes.
    FromNodes "alloc_pages_nodemask" Take 250;
    /// A block by a policy of its own.
    OfPolicy "alloc_pages_mpol" Take 200;
    /// A block of zeroes.
    Zeroed "alloc_zeroed_pages" Take 100;
    /// A block without waiting.
    NoLock "alloc_pages_nolock" Take 250;
    /// Single frames, many at a time.
    Bulk "alloc_pages_bulk" Take 40;
    /// A block of several frames for who cannot wait.
    Atomic "alloc_pages atomic" Take 120;
    /// A block before a deadline, or unless it is cancelled.
    Request "request" Take 120;
    /// A block that may not fail, before a deadline.
    NoFail "request nofail" Take 12;
    /// Frames in a row that are no power of two.
    Exact "alloc_pages_exact" Take 80;
    /// A piece of a page.
    Fragment "page_frag_alloc" Take 400;
    /// Frames by address.
    Contig "alloc_contig_range" Take 12;
    /// Frames of the area that is kept for them.
    Cma "cma_alloc" Take 12;
    /// A free of whatever is held.
    Free "free" Give 3600;
    /// Frees of many blocks at a time.
    FreeBulk "free_pages_bulk" Give 60;
    /// Blocks that a shrinker may give back.
    SetBy "set by" Give 60;
    /// Some of them are wanted again.
    TakeUp "take up" Take 20;
    /// A block becomes single frames.
    Split "split_page" Neither 60;
    /// A block gets its first reference.
    Share "into_shared" Neither 150;
    /// One more reference.
    Get "get_page" Take 150;
    /// The only reference becomes a block.
    Unshare "try_into_pages" Neither 150;
    /// A block becomes numbers.
    TakeApart "into_raw_parts" Neither 150;
    /// Numbers become a block.
    PutTogether "from_raw_parts" Neither 150;
    /// A look at what is held.
    Verify "verify" Neither 150;
    /// Blocks go to another thread.
    Send "hand over" Give 150;
    /// Blocks come from other threads.
    Receive "take over" Take 200;
    /// Another memory policy for the thread.
    Policy "mempolicy" Neither 30;
    /// Other nodes for all threads.
    MemsAllowed "set_mems_allowed" Neither 4;
    /// A node is reclaimed from, or no more.
    Reclaiming "set_reclaiming" Neither 4;
    /// A bag gets a shrinker.
    Register "register_shrinker" Neither 8;
    /// A shrinker is removed.
    Unregister "remove shrinker" Neither 4;
    /// What a thread waits for is cancelled.
    Cancel "cancel" Neither 20;
    /// Frames are counted as dirty, or as a cache's.
    Count "mod_node_page_state" Neither 30;
    /// They are not any more.
    TakeBack "mod_node_page_state back" Neither 30;
    /// Free memory goes to the system.
    Trim "trim" Neither 5;
    /// Pageblocks leave circulation.
    Isolate "start_isolate" Neither 3;
    /// Pageblocks come back.
    UndoIsolate "undo_isolate" Neither 6;
    /// Pageblocks leave the allocator.
    Offline "offline_pages" Neither 4;
    /// Pageblocks come to it.
    Online "online_pages" Neither 4;
    /// All caches are emptied.
    Drain "drain_all" Neither 3;
    /// Caches age.
    Age "age" Neither 3;
    /// The allocator is asked how it is.
    Report "statistics" Neither 3;
    /// Another allocator comes and goes.
    Elsewhere "another allocator" Neither 1;
    /// The thread ends; a new one takes its place, and others its blocks.
    Depart "thread ends" Neither 1;
}

/// How many operations a thread is in one mood for.
const PHASE_OPERATIONS: u64 = 1 << 11;

/// Moods: eighths of the weights of what takes and of what gives.
const MOODS: [(usize, usize); 4] = [(11, 8), (8, 9), (9, 8), (5, 14)];

/// Draws operations.
#[derive(Debug)]
pub(super) struct Mix {
    seed: u64,
    moods: [Box<[Kind]>; MOODS.len()],
}

impl Mix {
    pub(super) fn new(seed: u64) -> Self {
        let moods = MOODS.map(|(take, give)| {
            let eighths = |kind: Kind| match kind.side() {
                Side::Take => take,
                Side::Give => give,
                Side::Neither => 8,
            };
            let times = |kind: Kind| (kind.weight() * eighths(kind)).div_ceil(8);
            Kind::ALL.into_iter().flat_map(|kind| std::iter::repeat_n(kind, times(kind))).collect()
        });
        Self { seed, moods }
    }

    /// Returns the random numbers of something that happens at most once for a thread and a number.
    pub(super) fn numbers(&self, epoch: u64, thread: usize, number: u64) -> Rng {
        let mut rng = Rng::new(self.seed ^ (thread as u64) << 40 ^ epoch << 20);
        Rng::new(rng.next() ^ number)
    }

    /// Returns a thread's operation of a number, and the random numbers that the rest of it follows from.
    pub(super) fn draw(&self, epoch: u64, thread: usize, number: u64) -> (Kind, Rng) {
        // Phases have numbers from the other end.
        let mood = self.numbers(epoch, thread, u64::MAX - number / PHASE_OPERATIONS).below(MOODS.len());
        let mut rng = self.numbers(epoch, thread, number);
        let kinds = &self.moods[mood];
        (kinds[rng.below(kinds.len())], rng)
    }
}

/// What requests ask for: kinds of migrate types, reserves, zones and patience. Those that reclaim again and again when memory is
/// short are few: they sleep most of the time.
const MASKS: [Gfp; 18] = [
    Gfp::KERNEL,
    Gfp::KERNEL.union(Gfp::NORETRY),
    Gfp::KERNEL.union(Gfp::NORETRY),
    Gfp::HIGHUSER_MOVABLE,
    Gfp::HIGHUSER_MOVABLE.union(Gfp::NORETRY),
    Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    Gfp::ATOMIC,
    Gfp::NOWAIT,
    Gfp::NOFS.union(Gfp::WRITE),
    Gfp::KERNEL.union(Gfp::WRITE),
    Gfp::HIGHUSER_MOVABLE.union(Gfp::WRITE),
    Gfp::HIGHUSER.union(Gfp::ACCOUNT),
    Gfp::KERNEL.union(Gfp::ZERO),
    Gfp::KERNEL.union(Gfp::DMA),
    Gfp::TRANSHUGE_LIGHT,
    Gfp::KERNEL.union(Gfp::NORETRY).union(Gfp::NOWARN),
    Gfp::KERNEL.union(Gfp::MEMALLOC),
    Gfp::KERNEL.union(Gfp::RETRY_MAYFAIL),
];

pub(super) fn mask(rng: &mut Rng) -> Gfp {
    MASKS[rng.below(MASKS.len())]
}

/// What requests ask for that may wait as long as it takes.
const PATIENT_MASKS: [Gfp; 4] = [
    Gfp::KERNEL,
    Gfp::NOFS.union(Gfp::ZERO),
    Gfp::HIGHUSER_MOVABLE,
    Gfp::KERNEL.union(Gfp::RECLAIMABLE).union(Gfp::WRITE),
];

pub(super) fn patient_mask(rng: &mut Rng) -> Gfp {
    PATIENT_MASKS[rng.below(PATIENT_MASKS.len())]
}

/// Draws an order as a kernel's requests have them, mostly small.
pub(super) fn order(rng: &mut Rng) -> Order {
    let order = match rng.below(64) {
        0..40 => 0,
        40..54 => 1 + rng.below(3),
        54..63 => 4 + rng.below(5),
        _ => 9 + rng.below(2),
    };
    Order::new(u8::try_from(order).expect("an order"))
}

/// Draws nodes, at least one.
pub(super) fn nodes(rng: &mut Rng, nodes: usize) -> NodeMask {
    NodeMask::from_bits(1 + rng.below((1 << nodes) - 1) as u64)
}

pub(super) fn node(rng: &mut Rng, nodes: usize) -> Nid {
    Nid::new(rng.below(nodes))
}

/// Draws a policy, or none.
pub(super) fn policy(rng: &mut Rng, count: usize) -> Option<MemPolicy> {
    Some(match rng.below(8) {
        0 => MemPolicy::Local,
        1 => MemPolicy::Preferred(node(rng, count)),
        2 => MemPolicy::PreferredMany(nodes(rng, count)),
        3 => MemPolicy::Bind(nodes(rng, count)),
        4 => MemPolicy::Interleave(nodes(rng, count)),
        5 => {
            let mut weights = [0; NODES_MAX];
            weights[..count].fill_with(|| u8::try_from(rng.below(4)).expect("small"));
            weights[rng.below(count)] = 2;
            MemPolicy::WeightedInterleave(weights)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_follow_from_seed_thread_and_number_and_all_kinds_come() {
        let drawn = |seed| {
            let mix = Mix::new(seed);
            (0..200_000).map(|number| mix.draw(0, 1, number).0).collect::<Vec<_>>()
        };
        let first = drawn(1);
        assert_eq!(first, drawn(1));
        assert_ne!(first, drawn(2));
        for kind in Kind::ALL {
            assert!(first.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn every_policy_names_a_node_that_is_there() {
        let mut rng = Rng::new(1);
        let there = NodeMask::from_bits(0b111);
        for _ in 0..1000 {
            let named = policy(&mut rng, 3).map_or(there, |policy| policy.nodes());
            assert!(!named.and(there).is_empty());
        }
    }
}
