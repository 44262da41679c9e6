//! What a kernel's page allocator did, read from the text of its `kmem:mm_page_*` tracepoints; or gfp, from that of its probes.
//!
//! | file | idea |
//! |---|---|
//! | `input` | bytes of a file: plain or gzip by content, one line at a time |
//! | `prefix` | who, on which CPU, when, which tracepoint: the left part of a line, in each program's layout |
//! | `line` | one line: an event with its fields, or one of the other things that traces contain |
//! | `usdt` | hits of gfp's own probes: the arguments have numbers, not names |
//! | `pairing` | allocations and frees of page frames made into blocks that a replay can allocate and free |
//! | [`Trace`] (`load`) | a whole file, with an account of everything that was not replayed |
//!
//! # Rules of reading
//!
//! - `mm_page_free_batched` comes with an `mm_page_free` for the same page: only the latter counts.
//! - A failed allocation (`page=(null)`, pfn 0 or −1) is a trace failure and is not replayed.
//! - The migrate type is the event's own, 1 = movable and 2 = reclaimable; kernels before 4.4 numbered these two the
//!   other way round, which the first request whose flags name its mobility gives away.
//! - `mm_page_alloc_zone_locked`, `mm_page_pcpu_drain` and `mm_page_alloc_extfrag` describe how the kernel served
//!   a request, not a request: they are counted and not replayed. So is every tracepoint of another kind.
//! - Frames of gfp's probes are told apart by their allocator, so that several may be in one recording.
//! - A frame's history decides, not a block's: see [`pairing`](self#pairing).
//!
//! # Pairing
//!
//! A **block** is one successful allocation. It is freed when the last of its frames was freed, and until then
//! counts with all its frames, because an allocator under test can only take back whole blocks. So a block freed in
//! pieces (a smaller order, or an address inside it) is freed with its last piece, a free of a larger order than the
//! allocations were frees every block whose last frame it covers, and frames that were never seen allocated are
//! passed over. A free of which no frame is live is *unmatched* (the allocation was before the trace, or made by
//! `alloc_pages_bulk`, which has no event). An allocation of a frame that is still live shows that a free was
//! missed: that frame is freed first, an *implicit* free.

mod event;
mod input;
mod line;
mod load;
mod pairing;
mod prefix;
#[cfg(test)]
mod round_trip;
mod usdt;

pub use event::MAX_ORDER;
pub use load::{Format, Lines, Source, Trace, TraceError};
pub use pairing::{Account, Event, Op};
