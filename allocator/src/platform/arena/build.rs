//! How an arena comes to be: mapped, tied to nodes, and only then given pages.

use std::os::fd::AsFd;
use std::ptr::NonNull;

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::pages::{ArenaSource, Backing, BackingDowngrade};

use super::super::{PAGE_SIZE, sys};
use super::backing::{self, Obtained, Residency};
use super::binding::{Built, NodeSpan, Tied};
use super::file::memory_file;
use super::options::{
    ArenaOptions, Downgrade, DumpPolicy, Prefault, alignment_for, check_host_page, check_size,
};
use super::reservation::Reservation;
use super::{Arena, Memory, hugetlb};

impl Arena {
    /// Maps an arena; the time does not depend on its size unless it is prefaulted or in hugetlb pages.
    ///
    /// # Errors
    ///
    /// A size outside of the limits, a host whose pages are not 4 KiB, or a refused call; with [`Downgrade::Forbidden`] also
    /// pages other than those asked for. Nothing stays mapped, and no page is kept. The name and the dump policy are wishes:
    /// see [`obtained`](Self::obtained).
    pub fn new(options: &ArenaOptions) -> Result<Self, PlatformError> {
        Self::on_nodes(options, &[]).map(|(arena, _)| arena)
    }

    /// Maps an arena whose parts, one after the other, are tied to nodes before any page of it is taken.
    ///
    /// ```
    /// use gfp::platform::{Arena, ArenaOptions, Binding, arena::NodeSpan};
    ///
    /// // Two halves, neither of them tied: where a thread runs that touches a page first, there it lies.
    /// let half = NodeSpan { bytes: 2 << 20, os_node: 0, binding: Binding::None };
    /// let (arena, tied) = Arena::on_nodes(&ArenaOptions::new(4 << 20), &[half, half])?;
    /// assert_eq!((arena.len(), tied), (4 << 20, vec![Ok(()), Ok(())]));
    /// # Ok::<(), gfp::platform::PlatformError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); and when a part cannot be tied strictly to its node.
    pub fn on_nodes(options: &ArenaOptions, spans: &[NodeSpan]) -> Result<(Self, Vec<Tied>), PlatformError> {
        check_host_page()?;
        check_size(options.bytes, options.backing)?;
        let Some(size) = options.backing.huge_page_size() else {
            return Self::in_small_pages(options, spans, None);
        };
        match hugetlb::build(options, size, spans)? {
            Ok(built) => Ok(built),
            Err(why) if options.downgrade == Downgrade::Forbidden => {
                Err(PlatformError::Backing { asked: options.backing, why })
            }
            Err(why) => Self::in_small_pages(options, spans, Some(why)),
        }
    }

    /// Uses a mapping of the caller's as an arena, without changing or ever unmapping it.
    ///
    /// ```
    /// use gfp::platform::{Arena, ArenaOptions};
    ///
    /// let owner = Arena::new(&ArenaOptions::new(4 << 20))?;
    /// // SAFETY: the owner outlives the lent arena, and its first half is used through that only.
    /// let lent = unsafe { Arena::from_raw(owner.base(), 2 << 20) }?;
    /// assert!(lent.is_lent());
    /// assert_eq!(lent.frames(), 512);
    /// # Ok::<(), gfp::platform::PlatformError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An address off the page boundary, a size outside of the limits, or a host whose pages are not 4 KiB.
    ///
    /// # Safety
    ///
    /// 1. `[base, base + len)` is mapped, readable and writable, until the arena is dropped.
    /// 2. Until then nobody accesses it but through what the arena's user hands out.
    /// 3. Where the range maps a file, the file is never shortened below it.
    pub unsafe fn from_raw(base: NonNull<u8>, len: usize) -> Result<Self, PlatformError> {
        check_host_page()?;
        check_size(len, Backing::FourK)?;
        let address = base.addr().get();
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(PlatformError::UnalignedMapping { address });
        }
        let obtained = Obtained {
            backing_asked: Backing::FourK,
            backing: Backing::FourK,
            backing_downgrade: Some(BackingDowngrade::LentMapping),
            thp_downgrade: None,
            named: false,
            left_out_of_dumps: false,
            residency: Residency::NotAsked,
        };
        Ok(Self { base, len, memory: Memory::Lent, obtained })
    }

    /// Maps an arena in pages that the system gives and takes one by one: transparent huge pages, or 4 KiB. `not_huge` says
    /// why it is not in hugetlb pages, if these were asked for.
    fn in_small_pages(
        options: &ArenaOptions,
        spans: &[NodeSpan],
        not_huge: Option<BackingDowngrade>,
    ) -> Result<Built, PlatformError> {
        let len = options.bytes;
        let mapping = Reservation::aligned(len, alignment_for(len))?;
        let base = mapping.base();
        let mut named = match options.name {
            // SAFETY: the range is the reservation's.
            Some(name) => unsafe { sys::name_mapping(base, len, name) }.is_ok(),
            None => false,
        };
        let memory = match options.source {
            ArenaSource::Anonymous => {
                // SAFETY: the range is the reservation's.
                unsafe { sys::make_accessible(base, len) }
                    .map_err(|errno| PlatformError::call(SystemCall::Mprotect, Asked::Bytes(len), errno))?;
                Memory::Anonymous { _mapping: mapping }
            }
            ArenaSource::Memfd => {
                let file = memory_file(options, None)?;
                // SAFETY: the range is the reservation's, and nobody has its addresses yet.
                unsafe { sys::map_file(base, len, file.as_fd()) }
                    .map_err(|errno| PlatformError::call(SystemCall::Mmap, Asked::Bytes(len), errno))?;
                named = true;
                Memory::Memfd { _mapping: mapping, file }
            }
        };
        let (backing, not_thp) = if options.backing == Backing::FourK {
            // SAFETY: the range is the mapping's.
            unsafe { backing::request_small(base, len) };
            (Backing::FourK, None)
        } else {
            // SAFETY: the range is the mapping's.
            let not_thp = unsafe { backing::request_thp(base, len, options.source) };
            (if not_thp.is_none() { Backing::Thp } else { Backing::FourK }, not_thp)
        };
        if let (Downgrade::Forbidden, Some(why)) = (options.downgrade, not_thp) {
            return Err(PlatformError::Backing { asked: options.backing, why });
        }
        let (backing_downgrade, thp_downgrade) =
            if not_huge.is_some() { (not_huge, not_thp) } else { (not_thp, None) };
        let mut arena = Self::assemble(base, memory, options, backing, named);
        arena.obtained.backing_downgrade = backing_downgrade;
        arena.obtained.thp_downgrade = thp_downgrade;
        let tied = arena.tie(spans)?;
        match options.prefault {
            Prefault::None => {}
            Prefault::All => arena.prefault_range(0, len)?,
        }
        Ok((arena, tied))
    }

    /// Makes an arena of its mapping, with the pages that were obtained.
    pub(super) fn assemble(
        base: NonNull<u8>,
        memory: Memory,
        options: &ArenaOptions,
        backing: Backing,
        named: bool,
    ) -> Self {
        let left_out_of_dumps = match options.dump {
            DumpPolicy::Include => false,
            DumpPolicy::Exclude => {
                // SAFETY: the range is the mapping's; the advice discards nothing.
                unsafe { sys::advise(base, options.bytes, sys::Advice::LinuxDontDump) }.is_ok()
            }
        };
        let obtained = Obtained {
            backing_asked: options.backing,
            backing,
            backing_downgrade: None,
            thp_downgrade: None,
            named,
            left_out_of_dumps,
            residency: Residency::NotAsked,
        };
        Self { base, len: options.bytes, memory, obtained }
    }
}
