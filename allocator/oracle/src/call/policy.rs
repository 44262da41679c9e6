//! Memory policies, and nodes as bits.

use arbitrary::Arbitrary;
use gfp::{MemPolicy, Nid, NodeMask};
use serde::{Deserialize, Serialize};

use super::bytes;
use crate::shapes::NODES;

/// A policy by name; nodes are set bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Arbitrary)]
#[expect(missing_docs, reason = "the names are those of the kernel")]
pub enum Policy {
    Default,
    Local,
    Preferred(#[arbitrary(with = bytes::known_node)] usize),
    PreferredMany(#[arbitrary(with = bytes::some_bits)] u8),
    Bind(#[arbitrary(with = bytes::some_bits)] u8),
    Interleave(#[arbitrary(with = bytes::some_bits)] u8),
    Weighted(#[arbitrary(with = bytes::weights)] [u8; NODES]),
}

/// Returns the nodes that are set bits.
pub(crate) fn mask(bits: u8) -> NodeMask {
    (0..NODES).filter(|node| bits >> node & 1 == 1).map(Nid::new).collect()
}

impl Policy {
    /// Returns the policy for gfp; none for none.
    pub(crate) fn policy(self) -> Option<MemPolicy> {
        Some(match self {
            Self::Default => return None,
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

    /// Tells whether it names a node that there is, or none because it needs none.
    pub(crate) fn names_a_node(self) -> bool {
        match self {
            Self::Default | Self::Local => true,
            Self::Preferred(node) => node < NODES,
            Self::PreferredMany(bits) | Self::Bind(bits) | Self::Interleave(bits) => !mask(bits).is_empty(),
            Self::Weighted(weights) => weights != [0; NODES],
        }
    }

    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Local => "local",
            Self::Preferred(_) => "preferred",
            Self::PreferredMany(_) => "preferred many",
            Self::Bind(_) => "bind",
            Self::Interleave(_) => "interleave",
            Self::Weighted(_) => "weighted interleave",
        }
    }
}
