//! The threads that an allocator runs for itself.
//!
//! | thread | what it does | file |
//! |---|---|---|
//! | `gfp-maintenance` | lets caches age, once a second | `maintenance.rs` |
//! | `gfp-kswapdN` | keeps memory of node N free | `kswapd.rs` |
//! | `gfp-reporting` | gives free memory back to the system, if that was asked for | `reporting.rs` |

mod kswapd;
mod maintenance;
mod reporting;
mod stop;
mod worker;

use self::{kswapd::Kswapd, maintenance::Maintenance, reporting::Reporter};
use super::{core::Core, spread::Home};
use crate::{platform::PlatformError, sync::Arc};

/// The running threads of an allocator.
#[derive(Debug)]
pub(super) struct Background {
    maintenance: Maintenance,
    kswapds: Vec<Kswapd>,
    reporter: Option<Reporter>,
}

impl Background {
    /// Starts all threads; `homes` says for each node with memory where its kswapd runs.
    ///
    /// # Errors
    /// When the system refuses one; then none is left.
    pub(super) fn start(core: &Arc<Core>, homes: Vec<Home>) -> Result<Self, PlatformError> {
        let mut threads =
            Self { maintenance: Maintenance::start(core)?, kswapds: Vec::new(), reporter: None };
        match threads.start_others(core, homes) {
            Ok(()) => Ok(threads),
            Err(error) => {
                threads.stop(core);
                Err(error)
            }
        }
    }

    fn start_others(&mut self, core: &Arc<Core>, homes: Vec<Home>) -> Result<(), PlatformError> {
        for home in homes {
            self.kswapds.push(Kswapd::start(core, home)?);
        }
        self.reporter = Reporter::start(core)?;
        Ok(())
    }

    /// Stops all threads and waits for their ends, [a while](worker::PATIENCE) for each: one that is in a call of the application's
    /// for longer is left to end when it comes back, and keeps until then what it uses. A thread does not wait for itself.
    ///
    /// Requests to the allocator fail from now on.
    pub(super) fn stop(self, core: &Core) {
        core.domain.refuse_requests();
        core.reclaim.wake_all();
        self.maintenance.ask_to_stop();
        let Self { maintenance, kswapds, reporter } = self;
        if let Some(reporter) = &reporter {
            reporter.ask_to_stop();
        }
        kswapds.into_iter().for_each(|kswapd| kswapd.end(core));
        if let Some(reporter) = reporter {
            reporter.end();
        }
        maintenance.end();
    }
}
