//! What the soak has said of the frames of nodes, so that it can be taken back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gfp::{Allocator, Nid, node::NodeStatItem, stats::NodeStat};

use super::violation::Problem;

/// Frames that were counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) node: Nid,
    pub(super) item: NodeStatItem,
    pub(super) frames: u32,
}

/// All that was counted and not yet taken back.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Vec<Entry>>);

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts frames, unless that is refused; tells whether they are counted.
    pub(super) fn add(&self, allocator: &Allocator, entry: Entry) -> bool {
        let Entry { node, item, frames } = entry;
        let counted = allocator.mod_node_page_state(node, item, i64::from(frames)).is_ok();
        if counted {
            self.entries().push(entry);
        }
        counted
    }

    /// Takes back what was counted last, if anything was; tells whether it was.
    ///
    /// # Errors
    /// It is refused: the count has lost it.
    pub(super) fn take_back(&self, allocator: &Allocator) -> Result<bool, Problem> {
        let Some(Entry { node, item, frames }) = self.entries().pop() else { return Ok(false) };
        let taken = allocator.mod_node_page_state(node, item, -i64::from(frames));
        taken.map(|()| true).map_err(|error| Problem::new(error.to_string()))
    }

    /// Checks, while nobody counts, that nodes have what was counted.
    pub(super) fn check(&self, allocator: &Allocator) -> Result<(), Problem> {
        let entries = self.entries();
        for node in allocator.zoneinfo().nodes {
            for (item, counted) in items(&node) {
                let of_it = entries.iter().filter(|entry| entry.node.index() == node.node as usize);
                let frames = of_it.filter(|entry| entry.item == item).map(|entry| u64::from(entry.frames));
                let frames: u64 = frames.sum();
                if frames != counted {
                    let what = format!("{item} of node {} is {counted}, {frames} were counted", node.node);
                    return Err(Problem::new(what));
                }
            }
        }
        Ok(())
    }
}

const fn items(node: &NodeStat) -> [(NodeStatItem, u64); 4] {
    [
        (NodeStatItem::ActiveFile, node.active_file),
        (NodeStatItem::InactiveFile, node.inactive_file),
        (NodeStatItem::FileDirty, node.dirty),
        (NodeStatItem::Writeback, node.writeback),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_without_the_ledger_is_found() {
        let allocator = Allocator::builder(16 << 20).build().unwrap();
        let (ledger, node, item) = (Ledger::default(), Nid::new(0), NodeStatItem::FileDirty);
        assert!(ledger.add(&allocator, Entry { node, item, frames: 100 }));
        assert!(!ledger.add(&allocator, Entry { node, item, frames: 5000 }), "more than there are");
        ledger.check(&allocator).unwrap();
        allocator.mod_node_page_state(node, item, -1).unwrap();
        assert!(ledger.check(&allocator).unwrap_err().what.contains("nr_dirty of node 0 is 99, 100"));
        ledger.take_back(&allocator).unwrap_err();
    }
}
