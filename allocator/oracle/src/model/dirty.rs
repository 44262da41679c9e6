//! How many frames of a node may be dirty.

use gfp::{gfp::ZoneType, stats::ZoneStat};

use super::Model;
use crate::{
    call::Counted,
    shapes::{DirtyLimit, NODES},
};

/// What is counted of each node, in the order of [`Counted::ALL`].
pub(crate) type Counts = [[u64; 4]; NODES];

impl Model {
    /// Counts frames of a node; if that cannot be, returns where the count stands, or nothing if there is no such node.
    pub(crate) fn count(&mut self, node: usize, counted: Counted, delta: i64) -> Option<Result<(), u64>> {
        let most =
            self.zones.iter().filter(|zone| zone.node == node).map(|zone| zone.span.len() as u64).sum();
        let count = &mut self.counts.get_mut(node)?[counted as usize];
        let changed = count.checked_add_signed(delta).filter(|&changed| changed <= most);
        let was = *count;
        *count = changed.unwrap_or(was);
        Some(changed.map(drop).ok_or(was))
    }

    /// Returns a count of all nodes.
    pub(crate) fn counted(&self, counted: Counted) -> u64 {
        self.counts.iter().map(|counts| counts[counted as usize]).sum()
    }

    /// Returns the frames of a node that are dirty, or on their way to be clean.
    pub(crate) fn dirty_frames(&self, node: usize) -> u64 {
        let counts = self.counts[node];
        counts[Counted::Dirty as usize] + counts[Counted::Writeback as usize]
    }

    /// Returns the frames of a node that could be dirty: what is free beyond what is kept, and pages of files.
    fn dirtyable(&self, node: usize, stats: &[ZoneStat]) -> u64 {
        let (mut free, mut kept) = (0, 0);
        // MOVABLE zones serve nobody who has pointers.
        let served = |stat: &&ZoneStat| stat.node as usize == node && stat.zone != ZoneType::Movable;
        for stat in stats.iter().filter(served) {
            free += stat.free;
            let reserve = stat.protection.iter().max().expect("there are types of zones");
            kept += stat.managed.min(reserve + stat.marks.high + stat.marks.boost);
        }
        let counts = self.counts[node];
        let files = counts[Counted::ActiveFile as usize] + counts[Counted::InactiveFile as usize];
        free.saturating_sub(kept) + files
    }

    fn all_dirtyable(&self, stats: &[ZoneStat]) -> u64 {
        (0..NODES).map(|node| self.dirtyable(node, stats)).sum()
    }

    /// Returns how many frames of a node may be dirty.
    pub(crate) fn dirty_limit(&self, node: usize, stats: &[ZoneStat]) -> u64 {
        let dirtyable = self.dirtyable(node, stats);
        match self.dirty_limit {
            DirtyLimit::Percent(percent) => dirtyable * percent / 100,
            DirtyLimit::Bytes(bytes) => {
                let all = self.all_dirtyable(stats).max(1);
                bytes.div_ceil(4096) * dirtyable / all
            }
        }
    }

    /// Returns how many frames of all nodes may be dirty.
    pub(crate) fn dirty_threshold(&self, stats: &[ZoneStat]) -> u64 {
        match self.dirty_limit {
            DirtyLimit::Percent(percent) => self.all_dirtyable(stats) * percent / 100,
            DirtyLimit::Bytes(bytes) => bytes.div_ceil(4096),
        }
    }

    /// Tells whether a node has more dirty frames than it may have.
    pub(crate) fn is_over(&self, node: usize, stats: &[ZoneStat]) -> bool {
        let now = self.dirty_frames(node);
        now > 0 && now > self.dirty_limit(node, stats)
    }
}
