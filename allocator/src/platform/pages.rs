//! Kinds of pages: which an arena may have, and why it has others than were asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::fault::SystemCall;
use super::{Errno, PAGE_SIZE};

/// A size of hugetlb pages.
///
/// ```
/// assert_eq!(gfp::platform::hugetlb::HugePageSize::Mib2.bytes(), 2 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HugePageSize {
    /// 2 MiB, what one entry of a page middle directory maps (PMD).
    Mib2,
    /// 1 GiB, what one entry of a page upper directory maps (PUD).
    Gib1,
}

impl HugePageSize {
    /// Returns the size of a page in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Mib2 => 2 << 20,
            Self::Gib1 => 1 << 30,
        }
    }
}

impl fmt::Display for HugePageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mib2 => "2 MiB",
            Self::Gib1 => "1 GiB",
        })
    }
}

/// A pool that has fewer pages than an arena needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolShortage {
    /// The size of a page.
    pub size: HugePageSize,
    /// The system's number of the node whose pool is too small; `None` for all nodes together.
    pub os_node: Option<u32>,
    /// Pages asked for.
    pub asked: u32,
    /// Pages that were free and not promised to others, a moment later.
    pub free: u32,
}

impl fmt::Display for PoolShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, os_node, asked, free } = *self;
        write!(f, "{asked} hugetlb pages of {size} were asked for")?;
        os_node.map_or(Ok(()), |node| write!(f, " on node {node}"))?;
        let file = directory(size, os_node).join("nr_hugepages");
        write!(f, ", {free} are free: write to /{} how many all need together", file.display())?;
        match size {
            HugePageSize::Mib2 => Ok(()),
            HugePageSize::Gib1 => f.write_str(", or boot with hugepagesz=1G hugepages=NUMBER"),
        }
    }
}

/// Returns where the files of a pool lie, relative to the root.
pub(super) fn directory(size: HugePageSize, os_node: Option<u32>) -> PathBuf {
    let parent = match os_node {
        None => "sys/kernel/mm/hugepages".to_owned(),
        Some(node) => format!("sys/devices/system/node/node{node}/hugepages"),
    };
    Path::new(&parent).join(format!("hugepages-{}kB", size.bytes() >> 10))
}

/// Where the memory of an arena comes from; a third source is [`Arena::from_raw`](super::arena::Arena::from_raw).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArenaSource {
    /// Private memory of this process.
    #[default]
    Anonymous,
    /// A file in memory (`memfd_create(2)`) that can be shared with other processes.
    Memfd,
}

/// The pages that back the arena; as text `4k`, `thp`, `2m` and `1g`.
///
/// ```
/// use gfp::platform::{Backing, hugetlb::HugePageSize};
///
/// assert_eq!("2m".parse(), Ok(Backing::Huge2M));
/// assert_eq!((Backing::Huge2M.name(), Backing::Huge2M.page_bytes()), ("2m", 2 << 20));
/// assert_eq!(Backing::Huge2M.huge_page_size(), Some(HugePageSize::Mib2));
/// assert_eq!(Backing::Thp.huge_page_size(), None);
/// ```
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

/// Why an arena has smaller pages than were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackingDowngrade {
    /// The system's setting forbids huge pages for this kind of memory.
    ForbiddenBySystem(ArenaSource),
    /// The process forbids itself huge pages (`PR_SET_THP_DISABLE`), perhaps by inheritance.
    ForbiddenForProcess,
    /// The kernel has no transparent huge pages.
    KernelWithout,
    /// The arena is smaller than one huge page.
    ArenaTooSmall,
    /// The kernel refused the advice.
    AdviceRefused(Errno),
    /// The pool of hugetlb pages has too few.
    PoolTooSmall(PoolShortage),
    /// The kernel has no hugetlb pages of this size.
    NoSuchPages(HugePageSize),
    /// The kernel refused a call on the way to hugetlb pages although the pool has enough.
    HugetlbRefused {
        /// The call.
        call: SystemCall,
        /// The reason that it gave.
        errno: Errno,
    },
    /// The arena lies in a mapping that the caller lent, and nobody knows its pages.
    LentMapping,
}

impl fmt::Display for BackingDowngrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForbiddenBySystem(ArenaSource::Anonymous) => f.write_str(
                "transparent huge pages are off: write madvise to /sys/kernel/mm/transparent_hugepage/enabled",
            ),
            Self::ForbiddenBySystem(ArenaSource::Memfd) => f.write_str(
                "huge pages for shared memory are off: write advise to \
                 /sys/kernel/mm/transparent_hugepage/shmem_enabled",
            ),
            Self::ForbiddenForProcess => {
                f.write_str("this process runs with transparent huge pages disabled (PR_SET_THP_DISABLE)")
            }
            Self::KernelWithout => f.write_str("the kernel was built without transparent huge pages"),
            Self::ArenaTooSmall => f.write_str("the arena is smaller than a huge page of 2 MiB"),
            Self::AdviceRefused(errno) => write!(f, "madvise(MADV_HUGEPAGE) failed: {errno}"),
            Self::PoolTooSmall(shortage) => shortage.fmt(f),
            Self::NoSuchPages(size) => {
                write!(f, "the kernel or the processor has no hugetlb pages of {size} (see `gfp topo`)")
            }
            Self::HugetlbRefused { call, errno } => {
                write!(f, "{call} for hugetlb pages failed: {errno}")?;
                f.write_str(match (call, errno) {
                    (SystemCall::Mmap | SystemCall::Madvise, &(Errno::NOMEM | Errno::FAULT)) => {
                        "; the pool has enough: raise the cgroup's limit (hugetlb.*.max) or RLIMIT_AS (ulimit -v)"
                    }
                    (SystemCall::Madvise, &Errno::INVAL) => "; Linux 5.14 or later is needed",
                    (SystemCall::Ftruncate, &Errno::FBIG) => "; raise RLIMIT_FSIZE (ulimit -f)",
                    _ => "",
                })
            }
            Self::LentMapping => f.write_str("the caller's own mapping is used as it is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backing_has_a_text_that_names_it() {
        for backing in Backing::ALL {
            assert_eq!(backing.to_string().parse(), Ok(backing));
        }
        assert_eq!("2M".parse::<Backing>(), Err(UnknownBacking));
    }
}
