//! What can be asked of an arena, and which sizes are possible.

use std::ffi::CStr;

use super::super::error::{PlatformError, SizeRule};
use super::super::pages::{ArenaSource, Backing};

use super::super::{PAGE_SIZE, sys};

/// The largest arena in bytes: 2³² frames, since a frame's number has 32 bits.
pub(super) const MAX_BYTES: usize = PAGE_SIZE << 32;

/// The smallest alignment of an arena in bytes: a pageblock and a PMD-sized huge page.
pub(super) const MIN_ALIGN: usize = 2 << 20;

/// The largest alignment of an arena in bytes: a PUD-sized huge page.
const MAX_ALIGN: usize = 1 << 30;

/// What happens when an arena cannot have the pages that it was asked to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Downgrade {
    /// It gets lesser ones, and says which and why: transparent huge pages instead of those of a pool, and pages of 4 KiB
    /// instead of these.
    #[default]
    Allowed,
    /// It is not built; the error says why.
    Forbidden,
}

/// How much of the arena is made resident when it is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefault {
    /// Nothing: a page costs memory, and a fault, at its first touch.
    #[default]
    None,
    /// Everything.
    All,
}

/// Whether a core dump has the arena's contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DumpPolicy {
    /// The system's rules decide (see core(5)).
    #[default]
    Include,
    /// The arena is left out.
    Exclude,
}

/// What is asked of [`Arena::new`](super::Arena::new).
///
/// ```
/// use gfp::platform::{ArenaOptions, Backing, Prefault};
///
/// let options = ArenaOptions { prefault: Prefault::All, ..ArenaOptions::new(1 << 20) };
/// assert_eq!((options.bytes, options.backing), (1 << 20, Backing::FourK));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOptions {
    /// The size in bytes: a multiple of 4096, at least 4096, at most 16 TiB. An allocator leaves the last 2 MiB of 16 TiB alone.
    pub bytes: usize,
    /// Where the memory comes from.
    pub source: ArenaSource,
    /// The pages wished for.
    pub backing: Backing,
    /// What happens when these cannot be had.
    pub downgrade: Downgrade,
    /// How much is made resident at once.
    pub prefault: Prefault,
    /// The name in /proc/self/maps; `None` leaves an anonymous mapping without one. A memfd, and hugetlb pages, always have
    /// a name, of at most 249 bytes, and an anonymous mapping takes 79 printable bytes without ``[]\$` ``.
    pub name: Option<&'static CStr>,
    /// Whether core dumps have the contents.
    pub dump: DumpPolicy,
}

impl ArenaOptions {
    /// The name that an arena has unless told otherwise.
    pub const DEFAULT_NAME: &'static CStr = c"gfp:arena";

    /// Asks for `bytes` of private memory in 4 KiB pages, committed as it is touched.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self {
            bytes,
            source: ArenaSource::Anonymous,
            backing: Backing::FourK,
            downgrade: Downgrade::Allowed,
            prefault: Prefault::None,
            name: Some(Self::DEFAULT_NAME),
            dump: DumpPolicy::Include,
        }
    }
}

/// Returns the alignment of an arena of this size: 1 GiB from there on, so that any page size of the
/// hardware can back it; less below, so as not to waste address space, but always whole pageblocks.
pub(super) fn alignment_for(bytes: usize) -> usize {
    bytes.checked_next_power_of_two().map_or(MAX_ALIGN, |align| align.clamp(MIN_ALIGN, MAX_ALIGN))
}

/// Checks the size of an arena against the pages that are to back it.
pub(super) fn check_size(bytes: usize, backing: Backing) -> Result<(), PlatformError> {
    let rule = if bytes < PAGE_SIZE {
        SizeRule::AtLeastOneFrame
    } else if !bytes.is_multiple_of(PAGE_SIZE) {
        SizeRule::WholeFrames
    } else if bytes > MAX_BYTES {
        SizeRule::AtMost32BitFrames
    } else if let Some(size) = backing.huge_page_size().filter(|size| !bytes.is_multiple_of(size.bytes())) {
        SizeRule::WholeHugePages(size)
    } else {
        return Ok(());
    };
    Err(PlatformError::ArenaSize { bytes, rule })
}

/// Checks that the host's pages are frames.
pub(super) fn check_host_page() -> Result<(), PlatformError> {
    host_page_is_a_frame(sys::page_size())
}

fn host_page_is_a_frame(bytes: usize) -> Result<(), PlatformError> {
    if bytes == PAGE_SIZE { Ok(()) } else { Err(PlatformError::HostPageSize { bytes }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::hugetlb::HugePageSize;

    #[test]
    fn sizes_are_refused_beyond_their_limits_with_the_rule() {
        let rule_for = |bytes, backing| match check_size(bytes, backing) {
            Err(PlatformError::ArenaSize { rule, .. }) => Some(rule),
            _ => None,
        };
        let rule = |bytes| rule_for(bytes, Backing::FourK);
        assert_eq!(rule(0), Some(SizeRule::AtLeastOneFrame));
        assert_eq!(rule(4095), Some(SizeRule::AtLeastOneFrame));
        assert_eq!(rule(4096), None);
        assert_eq!(rule(4097), Some(SizeRule::WholeFrames));
        assert_eq!(rule(16 << 40), None);
        assert_eq!(rule((16 << 40) + 4096), Some(SizeRule::AtMost32BitFrames));
        assert_eq!(rule(usize::MAX - 4095), Some(SizeRule::AtMost32BitFrames));
        assert_eq!(rule_for(4 << 20, Backing::Huge2M), None);
        let halves = Some(SizeRule::WholeHugePages(HugePageSize::Mib2));
        assert_eq!(rule_for(3 << 20, Backing::Huge2M), halves);
        assert_eq!(rule_for(3 << 20, Backing::Thp), None);
        assert_eq!(rule_for(2 << 20, Backing::Huge1G), Some(SizeRule::WholeHugePages(HugePageSize::Gib1)));
    }

    #[test]
    fn alignment_grows_with_the_size_up_to_1_gib() {
        assert_eq!(alignment_for(4096), 2 << 20);
        assert_eq!(alignment_for(3 << 20), 4 << 20);
        assert_eq!(alignment_for(512 << 20), 512 << 20);
        assert_eq!(alignment_for((512 << 20) + 4096), 1 << 30);
        assert_eq!(alignment_for(16 << 40), 1 << 30);
    }

    #[test]
    fn a_host_with_other_pages_is_refused() {
        assert_eq!(host_page_is_a_frame(4096), Ok(()));
        assert_eq!(host_page_is_a_frame(16384), Err(PlatformError::HostPageSize { bytes: 16384 }));
    }
}
