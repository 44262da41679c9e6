//! Threads that the library runs for itself.

use std::thread::{Builder, JoinHandle};

use super::{
    Errno,
    error::{Asked, PlatformError},
    fault::{self, SystemCall},
};

/// Starts a thread of the library's own.
///
/// # Errors
/// When the system has no room for one more thread.
pub fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, PlatformError> {
    let refused =
        |errno| PlatformError::SystemCall { call: SystemCall::ThreadSpawn, asked: Asked::Nothing, errno };
    fault::check(SystemCall::ThreadSpawn).map_err(refused)?;
    Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| refused(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))
}
