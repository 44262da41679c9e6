//! Threads that the library runs for itself.

use super::{
    Errno,
    error::{Asked, PlatformError},
    fault::{self, Inherited, SystemCall},
    sys,
};
use crate::sync::thread::{Builder, JoinHandle};

/// Starts a thread of the library's own. Of its name the system shows 15 bytes.
///
/// # Errors
/// When the system has no room for one more thread.
pub(crate) fn spawn(
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, PlatformError> {
    let refused =
        |errno| PlatformError::SystemCall { call: SystemCall::ThreadSpawn, asked: Asked::Nothing, errno };
    fault::check(SystemCall::ThreadSpawn).map_err(refused)?;
    let faults = Inherited::of_this_thread();
    Builder::new()
        .name(name)
        .spawn(move || {
            faults.adopt();
            run();
        })
        .map_err(|error| refused(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))
}

/// Returns the system's number of the calling thread (`gettid(2)`), and its name, zeroes behind it (`comm`).
#[must_use]
pub(crate) fn this_thread() -> (u32, [u8; 16]) {
    sys::this_thread()
}

/// Returns the calling thread's name (`comm`).
pub(crate) fn comm() -> String {
    let (_, name) = this_thread();
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}
