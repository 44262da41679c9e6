//! One call of the public interface; positions are modulo what there is.
#![expect(clippy::disallowed_types, reason = "prop_oneof! names std's Arc")]

use gfp::{Gfp, MemPolicy, Nid, NodeMask};
use proptest::prelude::*;

/// Nodes of every machine here.
pub(crate) const NODES: usize = 3;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the kernel")]
pub enum Kind {
    Unmovable,
    Movable,
    Reclaimable,
    Zeroed,
}

impl Kind {
    pub(crate) const fn gfp(self) -> Gfp {
        match self {
            Self::Unmovable => Gfp::KERNEL,
            Self::Movable => Gfp::KERNEL.union(Gfp::MOVABLE),
            Self::Reclaimable => Gfp::KERNEL.union(Gfp::RECLAIMABLE),
            Self::Zeroed => Gfp::KERNEL.union(Gfp::ZERO),
        }
    }
}

/// A policy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the kernel")]
pub enum Policy {
    None,
    Local,
    Preferred(usize),
    PreferredMany(u8),
    Bind(u8),
    Interleave(u8),
    Weighted([u8; NODES]),
}

/// Returns the nodes that are set bits.
pub(crate) fn mask(bits: u8) -> NodeMask {
    (0..NODES).filter(|node| bits >> node & 1 == 1).map(Nid::new).collect()
}

impl Policy {
    pub(crate) fn policy(self) -> Option<MemPolicy> {
        Some(match self {
            Self::None => return None,
            Self::Local => MemPolicy::Local,
            Self::Preferred(node) => MemPolicy::Preferred(Nid::new(node)),
            Self::PreferredMany(bits) => MemPolicy::PreferredMany(mask(bits)),
            Self::Bind(bits) => MemPolicy::Bind(mask(bits)),
            Self::Interleave(bits) => MemPolicy::Interleave(mask(bits)),
            Self::Weighted(weights) => {
                let mut all = [0; gfp::frame::NODES_MAX];
                all[..NODES].copy_from_slice(&weights);
                MemPolicy::WeightedInterleave(all)
            }
        })
    }
}

/// How a block is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a call of that name")]
pub enum Free {
    Drop,
    Handle,
    Cold,
    NoLock,
    ThroughRawParts,
    Shared,
    Split,
}

/// A call with its arguments.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the parameters are those of the function")]
pub enum Call {
    Alloc {
        kind: Kind,
        order: u8,
        times: u8,
    },
    OnNode {
        node: usize,
        this_node: bool,
        kind: Kind,
        order: u8,
    },
    FromNodes {
        node: Option<usize>,
        allowed: u8,
        kind: Kind,
        order: u8,
    },
    Bulk {
        kind: Kind,
        count: usize,
    },
    Exact {
        kind: Kind,
        frames: usize,
    },
    NoLock {
        order: u8,
    },
    Free {
        position: usize,
        how: Free,
        times: u8,
    },
    FreeBulk {
        count: usize,
    },
    FreeExact {
        position: usize,
    },
    Policy(Policy),
    /// By a policy of its own, whatever the thread's is.
    OfPolicy {
        policy: Policy,
        kind: Kind,
        order: u8,
    },
    MemsAllowed(u8),
    Isolate {
        pageblock: u32,
        count: u32,
    },
    UndoIsolate {
        pageblock: u32,
        count: u32,
    },
    Offline {
        pageblock: u32,
        count: u32,
    },
    Online {
        pageblock: u32,
        count: u32,
    },
    Contig {
        start: u32,
        frames: u32,
    },
    Cma {
        frames: u32,
        align: u8,
    },
    FreeContig {
        position: usize,
    },
    DrainAll,
    Check,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(
        &[Kind::Unmovable, Kind::Movable, Kind::Movable, Kind::Reclaimable, Kind::Zeroed][..],
    )
}

fn order() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0_u8), 3 => 1..4_u8, 2 => 4..9_u8, 1 => 9..=10_u8]
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        2 => Just(Policy::None),
        1 => Just(Policy::Local),
        1 => (0..NODES).prop_map(Policy::Preferred),
        1 => (1..8_u8).prop_map(Policy::PreferredMany),
        2 => (1..8_u8).prop_map(Policy::Bind),
        1 => (1..8_u8).prop_map(Policy::Interleave),
        1 => (1..4_u8, 0..4_u8, 0..4_u8).prop_map(|(a, b, c)| Policy::Weighted([a, b, c])),
    ]
}

fn how() -> impl Strategy<Value = Free> {
    prop_oneof![
        4 => Just(Free::Drop),
        2 => Just(Free::Handle),
        1 => Just(Free::Cold),
        1 => Just(Free::NoLock),
        1 => Just(Free::ThroughRawParts),
        1 => Just(Free::Shared),
        1 => Just(Free::Split),
    ]
}

fn pageblocks() -> impl Strategy<Value = (u32, u32)> {
    // In a few, so that one change meets another.
    (prop_oneof![3 => 0..6_u32, 1 => any::<u32>()], 1..4_u32)
}

/// Any call; `greed` is how much more is asked for than given back, in percent.
pub(crate) fn call(greed: u32) -> impl Strategy<Value = Call> {
    let ranged = |make: fn(u32, u32) -> Call| pageblocks().prop_map(move |(at, count)| make(at, count));
    prop_oneof![
        greed / 4 => (kind(), order(), prop_oneof![4 => Just(1_u8), 1 => 60..250_u8])
            .prop_map(|(kind, order, times)| Call::Alloc { kind, order, times: if order > 3 { 1 } else { times } }),
        greed / 12 => (0..NODES, prop::bool::weighted(0.3), kind(), order())
            .prop_map(|(node, this_node, kind, order)| Call::OnNode { node, this_node, kind, order }),
        greed / 12 => (prop::option::of(0..NODES), 0..8_u8, kind(), order())
            .prop_map(|(node, allowed, kind, order)| Call::FromNodes { node, allowed, kind, order }),
        greed / 20 => (kind(), 1..300_usize).prop_map(|(kind, count)| Call::Bulk { kind, count }),
        greed / 20 => (kind(), 1..90_usize).prop_map(|(kind, frames)| Call::Exact { kind, frames }),
        greed / 20 => order().prop_map(|order| Call::NoLock { order }),
        25 => (any::<usize>(), how(), prop_oneof![4 => Just(1_u8), 1 => 60..250_u8])
            .prop_map(|(position, how, times)| Call::Free { position, how, times }),
        4 => (1..400_usize).prop_map(|count| Call::FreeBulk { count }),
        5 => any::<usize>().prop_map(|position| Call::FreeExact { position }),
        3 => policy().prop_map(Call::Policy),
        greed / 20 => (policy(), kind(), order()).prop_map(|(policy, kind, order)| Call::OfPolicy { policy, kind, order }),
        2 => prop_oneof![2 => Just(7_u8), 1 => 1..8_u8].prop_map(Call::MemsAllowed),
        3 => ranged(|pageblock, count| Call::Isolate { pageblock, count }),
        3 => ranged(|pageblock, count| Call::UndoIsolate { pageblock, count }),
        3 => ranged(|pageblock, count| Call::Offline { pageblock, count }),
        3 => ranged(|pageblock, count| Call::Online { pageblock, count }),
        3 => (any::<u32>(), 1..700_u32).prop_map(|(start, frames)| Call::Contig { start, frames }),
        3 => (1..600_u32, 0..6_u8).prop_map(|(frames, align)| Call::Cma { frames, align }),
        5 => any::<usize>().prop_map(|position| Call::FreeContig { position }),
        1 => Just(Call::DrainAll),
        2 => Just(Call::Check),
    ]
}

/// Programs with times of plenty and of need.
pub fn calls() -> impl Strategy<Value = Vec<Call>> {
    let some = |greed| prop::collection::vec(call(greed), 0..=450);
    (some(60), some(200), some(40), some(300)).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}
