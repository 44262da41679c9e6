//! The thread that keeps memory of a node free.

use super::worker::Worker;
use crate::{
    allocator::{core::Core, spread::Home},
    frame::Nid,
    platform::PlatformError,
    sync::Arc,
};

/// A running kswapd.
#[derive(Debug)]
pub(super) struct Kswapd {
    node: Nid,
    worker: Worker,
}

impl Kswapd {
    /// Starts the thread. It keeps the allocator's memory as long as it runs: until the allocator is closed.
    pub(super) fn start(core: &Arc<Core>, home: Home) -> Result<Self, PlatformError> {
        let node = home.node;
        let its_core = Arc::clone(core);
        let worker = Worker::start(format!("gfp-kswapd{node}"), move || {
            let pinned = home.pin();
            its_core.reclaim.kswapd(&its_core.domain, node, pinned);
        })?;
        core.reclaim.set_has_thread(node, true);
        Ok(Self { node, worker })
    }

    /// Waits for its end, after it was asked to stop.
    pub(super) fn end(self, core: &Core) {
        core.reclaim.set_has_thread(self.node, false);
        self.worker.end();
    }
}
