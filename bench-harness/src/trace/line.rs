//! One line of a trace.

use super::{
    event::{MAX_ORDER, PageEvent, number},
    prefix::{self, TaskStyle, decimal},
    usdt,
};

use gfp::Gfp;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A tracepoint was hit.
    Event(TaskStyle, PageEvent<'a>),
    /// The recorder lost events here; how many, where it knows.
    Lost(Option<u64>),
    /// A comment, a heading or part of a call chain.
    Silent,
}

/// Parses a line without its end; `None` means that it is none of the things that traces contain.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.trim_ascii_end();
    if line.is_empty() || line[0] == b'#' {
        return Some(Line::Silent);
    }
    let Some(prefix) = prefix::split(line) else { return parse_unusual(line) };
    let is_probe = usdt::is_probe(prefix.text);
    let event = match if is_probe { usdt::name(prefix.event) } else { prefix.event } {
        b"mm_page_alloc" if is_probe => usdt::alloc(&prefix)?,
        b"mm_page_free" if is_probe => usdt::free(&prefix)?,
        b"mm_page_alloc" => alloc(prefix.cpu, prefix.text)?,
        b"mm_page_free" => {
            let fields = Fields::read(prefix.text);
            PageEvent::Free { cpu: prefix.cpu, pfn: number(fields.pfn)?, order: order(fields.order)? }
        }
        b"mm_page_free_batched" => PageEvent::FreeBatched,
        b"mm_page_alloc_zone_locked" => PageEvent::AllocZoneLocked,
        b"mm_page_pcpu_drain" => PageEvent::PcpuDrain,
        b"mm_page_alloc_extfrag" => PageEvent::AllocExtfrag,
        _ => PageEvent::Other,
    };
    Some(Line::Event(prefix.style, event))
}

fn alloc(cpu: u16, text: &[u8]) -> Option<PageEvent<'_>> {
    let fields = Fields::read(text);
    let pfn = number(fields.pfn)?;
    // A failure is recorded as frame −1 and printed as frame 0 of a null page; 64-bit readers may print the −1.
    let failed = pfn == 0 || pfn == u64::MAX || fields.page.starts_with(b"(n");
    Some(PageEvent::Alloc {
        cpu,
        pfn: (!failed).then_some(pfn),
        order: order(fields.order)?,
        migratetype: u8::try_from(decimal(fields.migratetype)?).ok()?,
        gfp_flags: fields.gfp_flags,
    })
}

/// The values of a page event's text, empty where a field is missing.
#[derive(Default)]
struct Fields<'a> {
    page: &'a [u8],
    pfn: &'a [u8],
    order: &'a [u8],
    migratetype: &'a [u8],
    gfp_flags: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the fields by name: their order and number changed over time (`cold=` came and went).
    fn read(text: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for token in text.split(u8::is_ascii_whitespace) {
            let Some(equals) = memchr::memchr(b'=', token) else { continue };
            let (key, value) = (&token[..equals], &token[equals + 1..]);
            match key {
                b"page" => fields.page = value,
                b"pfn" => fields.pfn = value,
                b"order" => fields.order = value,
                b"migratetype" => fields.migratetype = value,
                b"gfp_flags" => fields.gfp_flags = value,
                _ => {}
            }
        }
        fields
    }
}

fn order(text: &[u8]) -> Option<u8> {
    decimal(text).and_then(|order| u8::try_from(order).ok()).filter(|&order| order <= MAX_ORDER)
}

/// Tells whether a request's printed flags ask for zeroed memory.
///
/// The name is `GFP_ZERO` in the oldest kernels. Flags that the reader could not name are one number, taken to be numbered
/// as in 5.x and later, and here.
pub(super) fn asks_for_zero(gfp_flags: &[u8]) -> bool {
    if gfp_flags.first().is_some_and(u8::is_ascii_digit) {
        return number(gfp_flags).is_some_and(|bits| bits & u64::from(Gfp::ZERO.bits()) != 0);
    }
    gfp_flags.split(|&byte| byte == b'|').any(|name| name == b"__GFP_ZERO" || name == b"GFP_ZERO")
}

/// What a request's printed flags say about its mobility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mobility {
    Movable,
    Reclaimable,
}

/// Reads the mobility from a request's printed flags, where they name one.
pub(super) fn named_mobility(gfp_flags: &[u8]) -> Option<Mobility> {
    if memchr::memmem::find(gfp_flags, b"MOVABLE").is_some() {
        Some(Mobility::Movable)
    } else if memchr::memmem::find(gfp_flags, b"RECLAIMABLE").is_some() {
        Some(Mobility::Reclaimable)
    } else {
        None
    }
}

/// Parses what is neither a comment nor an event.
#[cold]
fn parse_unusual(line: &[u8]) -> Option<Line<'_>> {
    let text = line.trim_ascii_start();
    if let Some(rest) = text.strip_prefix(b"CPU:") {
        // ftrace: `CPU:n [LOST m EVENTS]`; trace-cmd: `CPU:n [m EVENTS DROPPED]`; either without a number.
        let bracket = memchr::memchr(b'[', rest)?;
        decimal(rest[..bracket].trim_ascii_end())?;
        let said = &rest[bracket..];
        let about_loss = said.starts_with(b"[LOST ") || said.ends_with(b"EVENTS DROPPED]");
        return about_loss.then(|| Line::Lost(lost_count(said)));
    }
    if let Some(record) = memchr::memmem::find(text, b" PERF_RECORD_") {
        // What perf script prints when asked to show more than samples.
        let said = &text[record + 1..];
        let lost = said.starts_with(b"PERF_RECORD_LOST");
        return Some(if lost { Line::Lost(lost_count(said)) } else { Line::Silent });
    }
    let heading = text.starts_with(b"cpus=")
        || text.starts_with(b"version = ")
        || (text.starts_with(b"CPU ") && text.ends_with(b" is empty"));
    (heading || is_call_chain(line)).then_some(Line::Silent)
}

/// Finds the first number among the words of a remark on lost events.
fn lost_count(text: &[u8]) -> Option<u64> {
    text.split(|&byte| byte.is_ascii_whitespace() || byte == b'[').find_map(decimal)
}

/// Recognises ` => symbol` and `<stack trace>` (ftrace), and an indented `address symbol (object)` (perf script).
fn is_call_chain(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    if text.starts_with(b"=> ") || text.ends_with(b"<stack trace>") {
        return true;
    }
    let address = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    text.len() < line.len() && address.len() >= 6 && address.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> PageEvent<'_> {
        match parse(line.as_bytes()) {
            Some(Line::Event(_, event)) => event,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn allocations_of_every_kernel_generation_are_read_alike() {
        let expected = PageEvent::Alloc {
            cpu: 1,
            pfn: Some(0x1cd058),
            order: 3,
            migratetype: 1,
            gfp_flags: b"GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
        };
        for line in [
            // 3.x: decimal frame, four flags, a plain pointer
            " cc1-7 [001] .... 1.5: mm_page_alloc: page=ffffea0007341600 pfn=1888344 order=3 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
            // 5.4: hashed pointer
            " cc1-7 [001] d..1 1.5: mm_page_alloc: page=00000000478dde1c pfn=1888344 order=3 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
            // 6.x: hexadecimal frame, five flags
            " cc1-7 [001] d..1. 1.5: mm_page_alloc: page=00000000478dde1c pfn=0x1cd058 order=3 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
            // perf script
            "cc1 7 [001] 1.5: kmem:mm_page_alloc: page=0x1cd058 pfn=0x1cd058 order=3 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
            // trace-cmd report
            " cc1-7 [001] 1.5: mm_page_alloc:        page=0x1cd058 pfn=1888344 order=3 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO",
        ] {
            assert_eq!(event(line), expected, "{line}");
        }
    }

    #[test]
    fn a_failed_allocation_has_no_frame() {
        for text in [
            "page=(null) pfn=0x0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE",
            "page=          (null) pfn=0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE",
            "page=0000000000000000 pfn=0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE",
            "page=(nil) pfn=0xffffffffffffffff order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE",
            "page=(nil) pfn=0x1 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE",
        ] {
            let line = format!(" t-1 [000] ..... 1.0: mm_page_alloc: {text}");
            assert!(matches!(event(&line), PageEvent::Alloc { pfn: None, order: 9, .. }), "{text}");
        }
    }

    #[test]
    fn frees_are_read_and_batched_frees_told_apart() {
        assert_eq!(
            event(" t-1 [000] ..... 1.0: mm_page_free: page=00000000f pfn=0x2a order=2"),
            PageEvent::Free { cpu: 0, pfn: 42, order: 2 }
        );
        for (name, expected) in [
            ("mm_page_free_batched: page=0f pfn=42 order=0 cold=0", PageEvent::FreeBatched),
            (
                "mm_page_alloc_zone_locked: page=0f pfn=42 order=0 migratetype=1 percpu_refill=1",
                PageEvent::AllocZoneLocked,
            ),
            ("mm_page_pcpu_drain: page=0f pfn=0x2a order=0 migratetype=1", PageEvent::PcpuDrain),
            (
                "mm_page_alloc_extfrag: page=0f pfn=0x2a alloc_order=0 fallback_order=9",
                PageEvent::AllocExtfrag,
            ),
            ("mm_page_reporting: x", PageEvent::Other),
            ("kmalloc: call_site=f+0x1/0x2 ptr=00 name=a: b", PageEvent::Other),
        ] {
            assert_eq!(event(&format!(" t-1 [000] ..... 1.0: {name}")), expected, "{name}");
        }
    }

    #[test]
    fn zeroing_is_read_from_names_and_from_a_bare_number() {
        for (flags, zero) in [
            ("GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP", true),
            ("GFP_KERNEL|GFP_ZERO", true),
            ("GFP_KERNEL|__GFP_ZEROTAGS", false),
            ("none", false),
            ("0xdc0", true),
            ("0xcc0", false),
            ("3520", true),
            ("3264", false),
        ] {
            assert_eq!(asks_for_zero(flags.as_bytes()), zero, "{flags}");
        }
    }

    #[test]
    fn losses_are_recognised_with_and_without_a_number() {
        for (line, count) in [
            ("CPU:1 [LOST 42 EVENTS]", Some(42)),
            ("CPU:13 [LOST EVENTS]", None),
            ("CPU:0 [7 EVENTS DROPPED]", Some(7)),
            ("CPU:0 [EVENTS DROPPED]", None),
            ("swapper 0 [000] 12.5: PERF_RECORD_LOST lost 3", Some(3)),
        ] {
            assert_eq!(parse(line.as_bytes()), Some(Line::Lost(count)), "{line}");
        }
    }

    #[test]
    fn headings_and_call_chains_are_silent() {
        for line in [
            "",
            "# tracer: nop",
            "##### CPU 1 buffer started ####",
            "cpus=2",
            "CPU 1 is empty",
            " => __alloc_pages",
            "   t-1 [000] ..... 1.0: <stack trace>",
            "\tffffffff812a3c45 __alloc_pages+0x1e5 ([kernel.kallsyms])",
        ] {
            assert_eq!(parse(line.as_bytes()), Some(Line::Silent), "{line}");
        }
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            "garbage",
            "CPU:x [LOST 3 EVENTS]",
            " t-1 [000] ..... 1.0: mm_page_free: page=0f order=0",
            " t-1 [000] ..... 1.0: mm_page_free: page=0f pfn=0xzz order=0",
            " t-1 [000] ..... 1.0: mm_page_free: page=0f pfn=0x2a order=19",
            " t-1 [000] ..... 1.0: mm_page_alloc: page=0f pfn=0x2a order=0 migratetype=-1 gfp_flags=none",
            " t-1 [000] ..... 1.0: mm_page_alloc: page=0f pfn=0x2a order=0 gfp_fl",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
