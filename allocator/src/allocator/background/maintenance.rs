//! The thread that lets caches age.

use core::time::Duration;

use super::{stop::Stop, worker::Worker};
use crate::{alloc::Busy, allocator::core::Core, platform::PlatformError, sync::Arc};

/// How often caches age.
const PERIOD: Duration = Duration::from_secs(1);

/// A running maintenance thread.
#[derive(Debug)]
pub(super) struct Maintenance {
    worker: Worker,
    stop: Arc<Stop>,
}

impl Maintenance {
    /// Starts the thread; it ends when it is stopped or the allocator is gone.
    pub(super) fn start(core: &Arc<Core>) -> Result<Self, PlatformError> {
        let stop = Arc::new(Stop::default());
        let (seen, core) = (Arc::clone(&stop), Arc::downgrade(core));
        let worker = Worker::start("gfp-maintenance".to_owned(), move || {
            while !seen.sleep(PERIOD) {
                let Some(core) = core.upgrade() else { return };
                let _busy = Busy::enter();
                core.domain.age();
                core.reclaim.age();
            }
        })?;
        Ok(Self { worker, stop })
    }

    /// Has the thread end, after one visit to all caches at most.
    pub(super) fn ask_to_stop(&self) {
        self.stop.ask();
    }

    /// Waits for its end.
    pub(super) fn end(self) {
        self.worker.end();
    }
}
