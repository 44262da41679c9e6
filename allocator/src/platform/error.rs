//! The one error type of `platform`.

use std::fmt;
use std::path::Path;

use super::fault::SystemCall;
use super::pages::{Backing, BackingDowngrade, HugePageSize};
use super::{CpuId, Errno};
use crate::sync::Arc;

/// What was asked of the operating system, or of this module, and why it was refused.
///
/// Its text names the request and what to do about it. Cloning never copies text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformError {
    /// The operating system refused a call.
    SystemCall {
        /// The call.
        call: SystemCall,
        /// What it was asked to do.
        asked: Asked,
        /// The reason that it gave.
        errno: Errno,
    },
    /// The host's pages are not 4 KiB.
    HostPageSize {
        /// The host's page size in bytes.
        bytes: usize,
    },
    /// The size of an arena breaks a rule.
    ArenaSize {
        /// The size that was asked for, in bytes.
        bytes: usize,
        /// The rule.
        rule: SizeRule,
    },
    /// The caller's own mapping does not begin on a page boundary.
    UnalignedMapping {
        /// Its address.
        address: usize,
    },
    /// A range does not lie in the arena, or its ends are not page boundaries.
    Range {
        /// The range's first byte, as an offset in the arena.
        offset: usize,
        /// The range's length in bytes.
        len: usize,
        /// The arena's length in bytes.
        arena_len: usize,
    },
    /// The operation would change the contents of a mapping that the caller lent.
    ForeignMapping,
    /// The operation would give hugetlb pages back, which nobody could be sure to get again.
    HugetlbPages,
    /// The operation would give memory back that is locked.
    Locked {
        /// How many bytes from the arena's start on are.
        bytes: usize,
    },
    /// The arena cannot have the pages that it was asked to have.
    Backing {
        /// The pages asked for.
        asked: Backing,
        /// Why they cannot be had.
        why: BackingDowngrade,
    },
    /// Pages do not lie on the node that they are tied to.
    Misplaced {
        /// The system's number of that node.
        os_node: u32,
        /// How many of its pages were looked at and have memory.
        looked_at: u64,
        /// How many of these lie elsewhere.
        elsewhere: u64,
    },
    /// A description of a topology, or what the system says of itself, makes no sense.
    Topology {
        /// What was read: a path, a variable or the description itself.
        origin: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
}

/// What a refused call was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// Something without a size.
    Nothing,
    /// This many bytes.
    Bytes(usize),
    /// A range of the arena.
    Range {
        /// Offset of its first byte.
        offset: usize,
        /// Length in bytes.
        len: usize,
    },
    /// This CPU.
    Cpu(CpuId),
    /// This file.
    File(Arc<Path>),
}

/// A rule for the size of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeRule {
    /// At least one frame.
    AtLeastOneFrame,
    /// A multiple of 4096 bytes.
    WholeFrames,
    /// At most 2³² frames (16 TiB), since a frame's number has 32 bits.
    AtMost32BitFrames,
    /// A multiple of the hugetlb page that backs it.
    WholeHugePages(HugePageSize),
}

impl PlatformError {
    pub(crate) fn call(call: SystemCall, asked: Asked, errno: Errno) -> Self {
        Self::SystemCall { call, asked, errno }
    }

    pub(crate) fn topology(origin: impl Into<Arc<str>>, reason: impl Into<Arc<str>>) -> Self {
        Self::Topology { origin: origin.into(), reason: reason.into() }
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemCall { call, asked, errno } => {
                write!(f, "{call}{asked} failed: {errno}")?;
                call.remedy(*errno).map_or(Ok(()), |text| write!(f, "; {text}"))
            }
            Self::HostPageSize { bytes } => {
                write!(
                    f,
                    "this host has pages of {bytes} bytes, and only 4096 are supported; boot a 4K kernel"
                )
            }
            Self::ArenaSize { bytes, rule } => write!(f, "an arena cannot have {bytes} bytes: {rule}"),
            Self::UnalignedMapping { address } => {
                write!(f, "the mapping at {address:#x} does not begin on a boundary of 4096 bytes")
            }
            Self::Range { offset, len, arena_len } => {
                write!(
                    f,
                    "{len} bytes at offset {offset:#x} are no range of whole frames in an arena of {arena_len} bytes"
                )
            }
            Self::ForeignMapping => f.write_str(
                "the arena lies in a mapping that the caller lent, whose contents are never discarded and whose protection is \
                 never changed here",
            ),
            Self::HugetlbPages => f.write_str("the arena keeps its hugetlb pages until it is dropped"),
            Self::Locked { bytes } => {
                write!(f, "the first {bytes} bytes of the arena, its DMA zone, are locked in memory and stay there")
            }
            Self::Backing { asked, why } => write!(f, "the arena cannot have {asked} pages: {why}"),
            Self::Misplaced { os_node, looked_at, elsewhere } => write!(
                f,
                "{elsewhere} of {looked_at} pages that are tied to node {os_node} lie on other nodes: the system moved \
                 them, or they were touched before"
            ),
            Self::Topology { origin, reason } => write!(f, "no topology from {origin}: {reason}"),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Bytes(bytes) => write!(f, " of {bytes} bytes"),
            Self::Range { offset, len } => write!(f, " of {len} bytes at offset {offset:#x}"),
            Self::Cpu(cpu) => write!(f, " to CPU {cpu}"),
            Self::File(path) => write!(f, " of {}", path.display()),
        }
    }
}

impl fmt::Display for SizeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeastOneFrame => f.write_str("it needs at least one frame of 4096 bytes"),
            Self::WholeFrames => f.write_str("its size must be a multiple of 4096 bytes"),
            Self::AtMost32BitFrames => f.write_str("at most 17592186044416 bytes (16 TiB) can be numbered"),
            Self::WholeHugePages(size) => {
                write!(f, "in pages of {size} its size must be a multiple of {} bytes", size.bytes())
            }
        }
    }
}

impl std::error::Error for PlatformError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::SystemCall { errno, .. } => Some(errno),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_call_request_reason_and_remedy() {
        let asked = Asked::Range { offset: 0, len: 16 << 20 };
        let text = PlatformError::call(SystemCall::Mlock, asked, Errno::NOMEM).to_string();
        for part in ["mlock", "16777216 bytes at offset 0x0", "Cannot allocate memory", "RLIMIT_MEMLOCK"] {
            assert!(text.contains(part), "{part:?} missing in {text:?}");
        }
    }

    #[test]
    fn a_refused_call_has_its_errno_as_source() {
        let error = PlatformError::call(SystemCall::Mmap, Asked::Bytes(4096), Errno::NOMEM);
        assert!(std::error::Error::source(&error).is_some());
        assert!(std::error::Error::source(&PlatformError::ForeignMapping).is_none());
    }

    #[test]
    fn errors_are_small_enough_to_return_by_value() {
        assert!(size_of::<PlatformError>() <= 40, "{}", size_of::<PlatformError>());
    }
}
