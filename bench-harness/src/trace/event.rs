//! What a line of a trace tells of pages.

use super::prefix::decimal;

/// The largest order that a trace may name; kernels go to 10, some configurations to 13.
pub const MAX_ORDER: u8 = 18;

/// A hit tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageEvent<'a> {
    /// `mm_page_alloc`.
    Alloc {
        cpu: u16,
        /// The first frame, or `None` when the allocation failed.
        pfn: Option<u64>,
        order: u8,
        migratetype: u8,
        /// The flags' names joined by `|`, as the kernel printed them, or their bits.
        gfp_flags: &'a [u8],
    },
    /// `mm_page_free`.
    Free { cpu: u16, pfn: u64, order: u8 },
    /// `mm_page_free_batched`.
    FreeBatched,
    /// `mm_page_alloc_zone_locked`.
    AllocZoneLocked,
    /// `mm_page_pcpu_drain`.
    PcpuDrain,
    /// `mm_page_alloc_extfrag`.
    AllocExtfrag,
    /// Any other tracepoint.
    Other,
}

/// Reads a number in decimal (frames up to 5.15) or in hexadecimal with its `0x` (later).
pub(super) fn number(text: &[u8]) -> Option<u64> {
    match text.strip_prefix(b"0x") {
        Some(hex) => {
            if hex.starts_with(b"+") {
                return None;
            }
            u64::from_str_radix(str::from_utf8(hex).ok()?, 16).ok()
        }
        None => decimal(text),
    }
}
