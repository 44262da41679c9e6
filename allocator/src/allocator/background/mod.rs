//! The threads that an allocator runs for itself.
//!
//! | thread | what it does | file |
//! |---|---|---|
//! | `gfp-maintenance` | lets caches age, once a second | `maintenance.rs` |
//! | `gfp-kswapdN` | keeps memory of node N free | `kswapd.rs` |

mod kswapd;
mod maintenance;
mod worker;

pub(super) use kswapd::Home;

use self::{kswapd::Kswapd, maintenance::Maintenance};
use super::core::Core;
use crate::{platform::PlatformError, sync::Arc};

/// The running threads of an allocator.
#[derive(Debug)]
pub(super) struct Background {
    maintenance: Maintenance,
    kswapds: Vec<Kswapd>,
}

impl Background {
    /// Starts all threads; `homes` says for each node with memory where its kswapd runs.
    ///
    /// # Errors
    /// When the system refuses one; then none is left.
    pub(super) fn start(core: &Arc<Core>, homes: Vec<Home>) -> Result<Self, PlatformError> {
        let mut threads = Self { maintenance: Maintenance::start(core)?, kswapds: Vec::new() };
        for home in homes {
            match Kswapd::start(core, home) {
                Ok(kswapd) => threads.kswapds.push(kswapd),
                Err(error) => {
                    threads.stop(core);
                    return Err(error);
                }
            }
        }
        Ok(threads)
    }

    /// Stops all threads and waits for their ends, [a while](worker::PATIENCE) for each: one that is in a call of the application's
    /// for longer is left to end when it comes back, and keeps until then what it uses. A thread does not wait for itself.
    ///
    /// Requests to the allocator fail from now on.
    pub(super) fn stop(self, core: &Core) {
        core.domain.refuse_requests();
        core.reclaim.wake_all();
        self.maintenance.ask_to_stop();
        let Self { maintenance, kswapds } = self;
        kswapds.into_iter().for_each(|kswapd| kswapd.end(core));
        maintenance.end();
    }
}
