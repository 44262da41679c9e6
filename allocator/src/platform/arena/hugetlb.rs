//! An arena in hugetlb pages: promised by the pool, tied to nodes, then taken, every one or none.
//!
//! The pages are those of a file in memory, also where the arena is private: a mapping without a file could not have a name.
//! The mapping is made with a promise of the pool (no `MAP_NORESERVE`), and populated at once, because a promise says
//! nothing of nodes. The populating call says what an access could not: that a page is missing.

#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::path::Path;

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::hugetlb::HugePagePool;
use super::super::pages::{ArenaSource, BackingDowngrade, HugePageSize, PoolShortage};
use super::super::{Errno, sys};

use super::binding::{Binding, Built, NodeSpan};
use super::file::memory_file;
use super::options::{ArenaOptions, alignment_for};
use super::reservation::Reservation;
use super::{Arena, Memory};

/// Why there is no arena in hugetlb pages.
enum Failure {
    /// The pages cannot be had; others can.
    Refused(Refused),
    /// Something else is wrong.
    Other(PlatformError),
}

/// A refused call on the way to hugetlb pages.
struct Refused {
    error: PlatformError,
    /// The node on which pages had to be, if any.
    os_node: Option<u32>,
    /// How much memory was wanted there.
    bytes: usize,
}

/// Builds the arena, or says why the pages cannot be had; then nothing is mapped, and the pool has all that it had.
pub(super) fn build(
    options: &ArenaOptions,
    size: HugePageSize,
    spans: &[NodeSpan],
) -> Result<Result<Built, BackingDowngrade>, PlatformError> {
    match take(options, size, spans) {
        Ok(built) => Ok(Ok(built)),
        Err(Failure::Refused(refused)) => refused.explain(Path::new("/"), size).map(Err),
        Err(Failure::Other(error)) => Err(error),
    }
}

fn take(options: &ArenaOptions, size: HugePageSize, spans: &[NodeSpan]) -> Result<Built, Failure> {
    let refused = |error| Failure::Refused(Refused { error, os_node: None, bytes: options.bytes });
    let file = memory_file(options, Some(size)).map_err(refused)?;
    let flags = match options.source {
        ArenaSource::Anonymous => sys::MapFlags::PRIVATE,
        ArenaSource::Memfd => sys::MapFlags::SHARED,
    };
    let align = alignment_for(options.bytes);
    let mapping = Reservation::of_file(file.as_fd(), options.bytes, align, flags).map_err(refused)?;
    let base = mapping.base();
    let memory = match options.source {
        ArenaSource::Anonymous => Memory::Anonymous { _mapping: mapping },
        ArenaSource::Memfd => Memory::Memfd { _mapping: mapping, file },
    };
    let arena = Arena::assemble(base, memory, options, options.backing, true);
    let tied = arena.tie(spans).map_err(Failure::Other)?;
    let mut offset = 0;
    for span in spans {
        let os_node = (span.binding == Binding::Strict).then_some(span.os_node);
        populate(&arena, offset, span.bytes, os_node)?;
        offset += span.bytes;
    }
    populate(&arena, offset, options.bytes - offset, None)?;
    Ok((arena, tied))
}

/// Takes the pages of a part of the arena.
fn populate(arena: &Arena, offset: usize, len: usize, os_node: Option<u32>) -> Result<(), Failure> {
    let Some(start) = arena.range_start(offset, len).map_err(Failure::Other)? else { return Ok(()) };
    // SAFETY: the range is the mapping's; the advice keeps its contents.
    unsafe { sys::advise(start, len, sys::Advice::LinuxPopulateWrite) }.map_err(|errno| {
        let error = PlatformError::call(SystemCall::Madvise, Asked::Range { offset, len }, errno);
        Failure::Refused(Refused { error, os_node, bytes: len })
    })
}

impl Refused {
    /// Says what was missing, by the pools whose files lie under `root`, when nothing of the arena is mapped any more.
    fn explain(self, root: &Path, size: HugePageSize) -> Result<BackingDowngrade, PlatformError> {
        let PlatformError::SystemCall { call, errno, .. } = self.error else { return Err(self.error) };
        let unknown = matches!(errno, Errno::NODEV | Errno::NOSYS | Errno::INVAL);
        if call == SystemCall::MemfdCreate && unknown {
            return Ok(BackingDowngrade::NoSuchPages(size));
        }
        // What a mapping says when the promise cannot be given, and what populating says where an access would raise SIGBUS.
        let missing = matches!(
            (call, errno),
            (SystemCall::Mmap, Errno::NOMEM) | (SystemCall::Madvise, Errno::FAULT | Errno::NOMEM)
        );
        let pages = (self.bytes / size.bytes()) as u64;
        // A pool that cannot be read is not known to be too small.
        let pool = HugePagePool::read(root, size, self.os_node).ok().flatten();
        let free = pool.map(|pool| pool.available()).filter(|&free| missing && free < pages);
        Ok(free.map_or(BackingDowngrade::HugetlbRefused { call, errno }, |free| {
            let count = |pages| u32::try_from(pages).unwrap_or(u32::MAX);
            let (asked, free) = (count(pages), count(free));
            BackingDowngrade::PoolTooSmall(PoolShortage { size, os_node: self.os_node, asked, free })
        }))
    }
}
