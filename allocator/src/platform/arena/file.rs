//! The file behind an arena in memory that has one.

use std::os::fd::{AsFd, OwnedFd};

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::pages::HugePageSize;

use super::super::sys;
use super::options::ArenaOptions;

/// Creates the file of an arena, in hugetlb pages of a size or in ordinary ones: of its full length, which can never shrink.
pub(super) fn memory_file(
    options: &ArenaOptions,
    huge: Option<HugePageSize>,
) -> Result<OwnedFd, PlatformError> {
    let len = options.bytes;
    let failed = |call, asked| move |errno| PlatformError::call(call, asked, errno);
    let file = sys::memfd_create(options.name.unwrap_or(ArenaOptions::DEFAULT_NAME), huge)
        .map_err(failed(SystemCall::MemfdCreate, Asked::Nothing))?;
    sys::ftruncate(file.as_fd(), len as u64).map_err(failed(SystemCall::Ftruncate, Asked::Bytes(len)))?;
    sys::seal_against_shrinking(file.as_fd()).map_err(failed(SystemCall::AddSeals, Asked::Nothing))?;
    Ok(file)
}
