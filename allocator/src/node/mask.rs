//! Sets of nodes.

use core::fmt;

use crate::frame::{NODES_MAX, Nid};

/// A set of an allocator's nodes (`nodemask_t`).
///
/// ```
/// use gfp::{Nid, NodeMask};
///
/// let mask: NodeMask = [0, 1, 2, 5].map(Nid::new).into_iter().collect();
/// assert_eq!((mask.to_string(), mask.len(), mask.bits()), ("0-2,5".into(), 4, 0b10_0111));
/// assert!(mask.contains(Nid::new(5)) && !mask.is_empty());
///
/// let high = mask.and(NodeMask::from_bits(0b11_0000));
/// assert_eq!(high, NodeMask::of(Nid::new(5)));
/// assert!(mask.iter().map(Nid::index).eq([0, 1, 2, 5]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "nodemask_t")]
#[repr(transparent)]
pub struct NodeMask(u64);

impl NodeMask {
    /// No node.
    pub const EMPTY: Self = Self(0);
    /// Every node that there may be.
    pub const ALL: Self = Self(u64::MAX);

    /// Returns the set of one node.
    pub const fn of(node: Nid) -> Self {
        Self(1 << node.index())
    }

    /// Reads a bit for each node, node 0 lowest.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns a bit for each node.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Tells whether a node is in the set.
    pub const fn contains(self, node: Nid) -> bool {
        self.0 >> node.index() & 1 == 1
    }

    /// Tells whether there is no node.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of nodes.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the nodes that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the nodes, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Nid> {
        (0..NODES_MAX).map(Nid::new).filter(move |&node| self.contains(node))
    }
}

impl FromIterator<Nid> for NodeMask {
    fn from_iter<I: IntoIterator<Item = Nid>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::EMPTY, |mask, node| Self(mask.0 | Self::of(node).0))
    }
}

/// As the kernel prints it: `0-2,5`.
impl fmt::Display for NodeMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut rest = self.0;
        while rest != 0 {
            let first = rest.trailing_zeros();
            let last = first + (rest >> first).trailing_ones() - 1;
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
            rest &= if last == 63 { 0 } else { !0 << (last + 1) };
        }
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_shown_as_ranges() {
        let text = |bits| NodeMask::from_bits(bits).to_string();
        assert_eq!((text(0), text(1), text(0b100111)), (String::new(), "0".into(), "0-2,5".into()));
        assert_eq!(text(1 << 63 | 1), "0,63");
        assert_eq!(NodeMask::ALL.to_string(), "0-63");
    }

    #[test]
    fn nodes_come_lowest_first() {
        let mask: NodeMask = [Nid::new(7), Nid::new(2)].into_iter().collect();
        assert!(mask.iter().map(Nid::index).eq([2, 7]));
        assert_eq!((mask.len(), mask.contains(Nid::new(2)), mask.contains(Nid::new(3))), (2, true, false));
        assert_eq!(mask.and(NodeMask::of(Nid::new(7))), NodeMask::of(Nid::new(7)));
    }
}
