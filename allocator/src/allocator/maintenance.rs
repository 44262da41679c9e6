//! The thread that lets caches age.

use std::sync::Weak;
use std::time::Duration;

use super::core::Core;
use crate::{
    platform::{PlatformError, spawn},
    sync::{Arc, Condvar, Mutex, thread::JoinHandle},
};

/// How often caches age.
const PERIOD: Duration = Duration::from_secs(1);

/// A running maintenance thread.
#[derive(Debug)]
pub(super) struct Maintenance {
    thread: JoinHandle<()>,
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits for a period, and tells whether to stop.
    fn wait(&self) -> bool {
        let mut asked = self.asked.lock();
        if !*asked {
            self.changed.wait_for(&mut asked, PERIOD);
        }
        *asked
    }
}

impl Maintenance {
    /// Starts the thread; it ends when it is stopped or the allocator is gone.
    pub(super) fn start(core: Weak<Core>) -> Result<Self, PlatformError> {
        let stop = Arc::new(Stop::default());
        let seen = Arc::clone(&stop);
        let thread = spawn("gfp-maintenance", move || {
            while !seen.wait() {
                let Some(core) = core.upgrade() else { return };
                core.domain.age();
            }
        })?;
        Ok(Self { thread, stop })
    }

    /// Stops the thread and waits for its end: at most for one visit to all caches.
    pub(super) fn stop(self) {
        *self.stop.asked.lock() = true;
        self.stop.changed.notify_all();
        // A panic of the thread has been reported on its own.
        drop(self.thread.join());
    }
}
