//! Where the pages of an arena lie, as the system says.

use super::super::error::PlatformError;
use super::Arena;

/// How many pages of a range are looked at, at most.
const LOOKED_AT_MAX: usize = 1 << 16;

/// How many are asked for at a time.
const BATCH: usize = 1 << 12;

/// On which node the pages of a range lie. Of a range of more than 65536 pages as many are looked at, evenly spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Pages that lie on the node.
    pub here: u64,
    /// Pages that lie on another.
    pub elsewhere: u64,
    /// Pages that have no memory yet, and those whose place the kernel does not say (of 1 GiB, before Linux 6.0).
    pub unknown: u64,
}

impl Arena {
    /// Asks the system whether pages of a range lie on a node, by the system's number of it (`move_pages(2)`).
    ///
    /// # Errors
    /// When the range is not of whole pages inside of the arena, or the system refuses.
    pub fn placement(&self, offset: usize, len: usize, os_node: u32) -> Result<Placement, PlatformError> {
        let mut placement = Placement::default();
        if self.range_start(offset, len)?.is_none() {
            return Ok(placement);
        }
        let page_bytes = self.obtained.backing.page_bytes();
        let pages = len.div_ceil(page_bytes);
        let looked_at = (0..pages).step_by(pages.div_ceil(LOOKED_AT_MAX));
        let offsets: Vec<usize> = looked_at.map(|page| offset + page * page_bytes).collect();
        for batch in offsets.chunks(BATCH) {
            for found in self.locate(batch)? {
                *match found {
                    Some(node) if node == os_node => &mut placement.here,
                    Some(_) => &mut placement.elsewhere,
                    None => &mut placement.unknown,
                } += 1;
            }
        }
        Ok(placement)
    }
}
