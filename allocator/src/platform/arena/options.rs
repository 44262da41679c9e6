//! What can be asked of an arena, and which sizes are possible.

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

use super::super::error::{PlatformError, SizeRule};
use super::super::hugetlb::HugePageSize;
use super::super::{PAGE_SIZE, sys};

/// The largest arena in bytes: 2³² frames, since a frame's number has 32 bits.
pub(super) const MAX_BYTES: usize = PAGE_SIZE << 32;

/// The smallest alignment of an arena in bytes: a pageblock and a PMD-sized huge page.
pub(super) const MIN_ALIGN: usize = 2 << 20;

/// The largest alignment of an arena in bytes: a PUD-sized huge page.
const MAX_ALIGN: usize = 1 << 30;

/// Where the memory of an arena comes from; a third source is [`Arena::from_raw`](super::Arena::from_raw).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArenaSource {
    /// Private memory of this process.
    #[default]
    Anonymous,
    /// A file in memory (`memfd_create(2)`) that can be shared with other processes.
    Memfd,
}

/// The pages that back the arena; as text `4k`, `thp`, `2m` and `1g`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// Pages of 4 KiB only, even where the system would use huge pages by itself.
    #[default]
    FourK,
    /// Transparent huge pages of 2 MiB where the system grants them.
    Thp,
    /// Pages of 2 MiB from the pool that the administrator set aside (hugetlb).
    ///
    /// All of them are taken when the arena is built, and kept until its drop; none is ever paged out, and no access fails
    /// for want of one (SIGBUS). But as with any private memory, whoever writes first after a fork, parent or child, needs a
    /// page more. When the pool has none, the parent keeps its page, and the child is without.
    Huge2M,
    /// The same with pages of 1 GiB.
    Huge1G,
}

impl Backing {
    /// Every kind, from the smallest page to the largest.
    pub const ALL: [Self; 4] = [Self::FourK, Self::Thp, Self::Huge2M, Self::Huge1G];

    /// Returns the size of the hugetlb pages, if it is these.
    #[must_use]
    pub const fn huge_page_size(self) -> Option<HugePageSize> {
        match self {
            Self::FourK | Self::Thp => None,
            Self::Huge2M => Some(HugePageSize::Mib2),
            Self::Huge1G => Some(HugePageSize::Gib1),
        }
    }

    /// Returns the size in bytes of what the system takes and gives back as one: an arena is a multiple of it.
    #[must_use]
    pub const fn page_bytes(self) -> usize {
        match self.huge_page_size() {
            Some(size) => size.bytes(),
            // A transparent huge page can be split.
            None => PAGE_SIZE,
        }
    }

    /// Returns its text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FourK => "4k",
            Self::Thp => "thp",
            Self::Huge2M => "2m",
            Self::Huge1G => "1g",
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`Backing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownBacking;

impl fmt::Display for UnknownBacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pages are 4k, thp, 2m or 1g")
    }
}

impl std::error::Error for UnknownBacking {}

impl FromStr for Backing {
    type Err = UnknownBacking;

    fn from_str(text: &str) -> Result<Self, UnknownBacking> {
        Self::ALL.into_iter().find(|backing| backing.name() == text).ok_or(UnknownBacking)
    }
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOptions {
    /// The size in bytes: a multiple of 4096, at least 4096, at most 16 TiB.
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
    fn every_backing_has_a_text_that_names_it() {
        for backing in Backing::ALL {
            assert_eq!(backing.to_string().parse(), Ok(backing));
        }
        assert_eq!("2M".parse::<Backing>(), Err(UnknownBacking));
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
