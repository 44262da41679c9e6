//! The thread that gives free memory back to the system.

use core::time::Duration;

use super::{stop::Stop, worker::Worker};
use crate::{
    alloc::Busy,
    allocator::core::Core,
    platform::PlatformError,
    sync::{Arc, Doorbell},
    zone::ReportGoal,
};

/// The wish with which the thread is woken to stop; others are of those who free.
const STOP: u32 = 1 << 31;

/// A running reporting thread.
#[derive(Debug)]
pub(super) struct Reporter {
    worker: Worker,
    stop: Arc<Stop>,
    bell: Arc<Doorbell>,
}

impl Reporter {
    /// Starts the thread, if memory is to be reported. It sleeps until somebody frees a pageblock, lets the delay pass, and gives back
    /// what is free then (`page_reporting_process`); it ends when it is stopped or the allocator is gone.
    pub(super) fn start(core: &Arc<Core>) -> Result<Option<Self>, PlatformError> {
        let Some((bell, delay)) = core.reporting.listening() else { return Ok(None) };
        let bell = Arc::clone(bell);
        let stop = Arc::new(Stop::default());
        let (seen, heard, core) = (Arc::clone(&stop), Arc::clone(&bell), Arc::downgrade(core));
        let worker = Worker::start("gfp-reporting".to_owned(), move || {
            while !sleep(&heard, &seen, delay) {
                let Some(core) = core.upgrade() else { return };
                let _busy = Busy::enter();
                let _ = core.report_free(ReportGoal::AboveLow, || seen.is_asked());
            }
        })?;
        Ok(Some(Self { worker, stop, bell }))
    }

    /// Has the thread end, after what it has with the system.
    pub(super) fn ask_to_stop(&self) {
        self.stop.ask();
        self.bell.ring(STOP, || true);
    }

    /// Waits for its end.
    pub(super) fn end(self) {
        self.worker.end();
    }
}

/// Sleeps until there may be something to report, and for the delay then; tells whether to stop.
fn sleep(bell: &Doorbell, stop: &Stop, delay: Duration) -> bool {
    bell.sleep(None, |wishes| wishes == 0);
    let stops = stop.sleep(delay);
    // What comes back from here on rings again.
    bell.take();
    stops
}
