//! Hits of gfp's own probes, as perf and ftrace print them: arguments by number behind the probe's address.
//!
//! | program | text |
//! |---|---|
//! | `perf script` | `sdt_gfp:mm_page_alloc: (55bb7f17c5ef) arg1=0 arg2=0 arg3=1052106 arg4=1 arg5=1` |
//! | ftrace | `mm_page_alloc: (0x55bb7f17c5ef) arg1=0x0 arg2=0x0 arg3=0x100dca arg4=0x1 arg5=0x1` |
//!
//! Kernels that cannot tie several places of one probe to one event number them: `mm_page_alloc_1`. The arguments are those of
//! [`gfp::trace`]; numbers are signed or not, decimal or hexadecimal, as the event was defined.

use super::{
    event::{MAX_ORDER, PageEvent, number},
    prefix::Prefix,
};

/// Where an allocator's number, which is not 0, stands above the frame's: no kernel has that many frames.
const ALLOCATOR_SHIFT: u32 = 48;

/// Tells whether a frame is one of gfp's and not of a kernel's.
pub(super) fn is_ours(frame: u64) -> bool {
    frame >> ALLOCATOR_SHIFT != 0
}

/// Tells whether an event's text is that of a user-space probe: its address in brackets.
pub(super) fn is_probe(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"(")
}

/// Returns the name of a probe without the number of its place.
pub(super) fn name(event: &[u8]) -> &[u8] {
    let digits = event.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let stem = &event[..event.len() - digits];
    if digits > 0 { stem.strip_suffix(b"_").unwrap_or(event) } else { event }
}

/// Reads `mm_page_alloc`.
pub(super) fn alloc<'a>(prefix: &Prefix<'a>) -> Option<PageEvent<'a>> {
    let [pfn, order_asked, gfp_flags, migratetype, allocator] = arguments(prefix.text)?;
    let (order, pfn) = (order(order_asked)?, signed(pfn)?);
    number(gfp_flags)?;
    let (pfn, migratetype) = match pfn {
        // The type of a failed request is of no use, and −1 where its mask contradicts itself.
        -1 => (None, 0),
        _ => (Some(frame(pfn, allocator)?), u8::try_from(signed(migratetype)?).ok()?),
    };
    Some(PageEvent::Alloc { cpu: prefix.cpu, pfn, order, migratetype, gfp_flags })
}

/// Reads `mm_page_free`.
pub(super) fn free<'a>(prefix: &Prefix<'a>) -> Option<PageEvent<'a>> {
    let [pfn, order_freed, allocator] = arguments(prefix.text)?;
    Some(PageEvent::Free {
        cpu: prefix.cpu,
        pfn: frame(signed(pfn)?, allocator)?,
        order: order(order_freed)?,
    })
}

/// Returns the values of `arg1` and its successors, which must be there.
fn arguments<const N: usize>(text: &[u8]) -> Option<[&[u8]; N]> {
    let mut values: [&[u8]; N] = [b""; N];
    for token in text.split(u8::is_ascii_whitespace) {
        let Some(argument) = token.strip_prefix(b"arg") else { continue };
        let equals = memchr::memchr(b'=', argument)?;
        let place = usize::try_from(number(&argument[..equals])?).ok()?.checked_sub(1)?;
        *values.get_mut(place)? = &argument[equals + 1..];
    }
    values.iter().all(|value| !value.is_empty()).then_some(values)
}

fn order(text: &[u8]) -> Option<u8> {
    u8::try_from(number(text)?).ok().filter(|&order| order <= MAX_ORDER)
}

/// Numbers a frame among those of all allocators of the process.
fn frame(pfn: i64, allocator: &[u8]) -> Option<u64> {
    let (pfn, allocator) = (u32::try_from(pfn).ok()?, u16::try_from(number(allocator)?).ok()?);
    (allocator > 0).then(|| u64::from(allocator) << ALLOCATOR_SHIFT | u64::from(pfn))
}

/// Reads a number that may be printed as one without a sign.
fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => i64::try_from(number(digits)?).ok()?.checked_neg(),
        None => number(text).map(u64::cast_signed),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        rival::Zeroing,
        trace::{
            Account, Format, Op, Source, Trace,
            event::PageEvent,
            line::{Line, parse},
            prefix::TaskStyle,
        },
    };

    const PERF: &str = "             gfp 11334 [001] 15378.076555: ";
    const FTRACE: &str = "             gfp-11334   [001] ..... 15378.076555: ";

    fn event<'a>(line: &'a str) -> Option<(TaskStyle, PageEvent<'a>)> {
        match parse(line.as_bytes()) {
            Some(Line::Event(style, event)) => Some((style, event)),
            other => {
                assert_eq!(other, None, "{line}");
                None
            }
        }
    }

    #[test]
    fn a_hit_is_read_in_every_form_that_it_is_printed_in() {
        let allocated = |gfp_flags| PageEvent::Alloc {
            cpu: 1,
            pfn: Some(2 << 48 | 42),
            order: 3,
            migratetype: 1,
            gfp_flags,
        };
        let freed = PageEvent::Free { cpu: 1, pfn: 2 << 48 | 42, order: 3 };
        for (line, expected) in [
            (
                "P sdt_gfp:mm_page_alloc: (55bb7f17c5ef) arg1=42 arg2=3 arg3=1052106 arg4=1 arg5=2",
                allocated(b"1052106" as &[u8]),
            ),
            (
                "P sdt_gfp:mm_page_alloc_17: (55bb7f17c5ef) arg1=0x2a arg2=0x3 arg3=0x100dca arg4=0x1 arg5=0x2",
                allocated(b"0x100dca"),
            ),
            (
                "F mm_page_alloc: (0x55bb7f17c5ef) arg1=0x2a arg2=0x3 arg3=0x100dca arg4=0x1 arg5=0x2",
                allocated(b"0x100dca"),
            ),
            ("P sdt_gfp:mm_page_free: (55bb7f17c5ef) arg1=42 arg2=3 arg3=2", freed),
            ("P sdt_gfp:mm_page_free_2: (55bb7f17c5ef) arg1=0x2a arg2=0x3 arg3=0x2", freed),
            ("F mm_page_free: (0x55bb7f17c5ef) arg1=42 arg2=3 arg3=2", freed),
        ] {
            let style = if line.starts_with('P') { TaskStyle::Space } else { TaskStyle::Dash };
            let line = line.replacen("P ", PERF, 1).replacen("F ", FTRACE, 1);
            assert_eq!(event(&line), Some((style, expected)), "{line}");
        }
    }

    #[test]
    fn a_failed_request_has_no_frame_and_frame_0_is_one() {
        for (pfn, migratetype, expected) in [
            ("-1", "1", None),
            ("18446744073709551615", "-1", None),
            ("0xffffffffffffffff", "0xffffffffffffffff", None),
            ("0", "1", Some(1 << 48)),
        ] {
            let line = format!(
                "{PERF}sdt_gfp:mm_page_alloc: (55bb7f17c5ef) arg1={pfn} arg2=0 arg3=0 arg4={migratetype} arg5=1"
            );
            let Some((_, PageEvent::Alloc { pfn, .. })) = event(&line) else { panic!("{line}") };
            assert_eq!(pfn, expected, "{line}");
        }
    }

    #[test]
    fn the_other_probes_are_counted_by_name() {
        for (text, expected) in [
            (
                "mm_page_alloc_zone_locked: (55bb7f176cea) arg1=16 arg2=0 arg3=0 arg4=1",
                PageEvent::AllocZoneLocked,
            ),
            ("mm_page_pcpu_drain_1: (55bb7f176cea) arg1=16 arg2=0 arg3=0", PageEvent::PcpuDrain),
            (
                "mm_page_alloc_extfrag: (55bb7f179518) arg1=0 arg2=0 arg3=9 arg4=0 arg5=1 arg6=1",
                PageEvent::AllocExtfrag,
            ),
            ("boost_watermark: (55bb7f179518) arg1=0 arg2=512", PageEvent::Other),
        ] {
            let line = format!("{PERF}sdt_gfp:{text}");
            assert_eq!(event(&line), Some((TaskStyle::Space, expected)), "{line}");
        }
    }

    #[test]
    fn what_perf_recorded_of_two_allocators_is_read_without_a_gap() {
        let recording = include_bytes!("../../traces/gfp-replay.perf.gz");
        let trace = Trace::read(&recording[..], None).unwrap();
        assert_eq!((trace.format, trace.source), (Format::Perf, Source::Gfp));
        // Each of the two allocated and freed 485 blocks of one frame, after the other and at most 306 at a time.
        let expected = Account { allocs: 970, frees: 970, peak_live_frames: 306, ..Account::default() };
        assert_eq!(trace.account, expected);
        let [first, second] =
            [1_u64, 2].map(|number| trace.pfns.iter().filter(|&pfn| pfn >> 48 == number).count());
        assert!(first > 0 && second > 0 && first + second == trace.pfns.len(), "{first}, {second}");
        assert_eq!((trace.lines.total, trace.lines.unparsable), (3668, 0));
        assert_eq!((trace.lines.page_alloc_zone_locked, trace.lines.page_pcpu_drain), (889, 837));
        assert_eq!((trace.lines.page_alloc_extfrag, trace.cpus), (2, vec![0, 1]));
        let zeroed =
            trace.events.iter().filter(|event| matches!(event.op, Op::Alloc(_, Zeroing::Zeroed))).count();
        assert!(zeroed > 0 && zeroed < 970, "{zeroed} of 970 zeroed");
    }

    #[test]
    fn hits_with_other_arguments_are_refused() {
        for text in [
            "mm_page_alloc: (55bb7f17c5ef)",
            "mm_page_alloc: (55bb7f17c5ef) arg1=42 arg2=3 arg3=0 arg4=1",
            "mm_page_alloc: (55bb7f17c5ef) arg1=42 arg2=3 arg3=0 arg4=1 arg5=1 arg6=1",
            "mm_page_alloc: (55bb7f17c5ef) arg1=42 arg2=19 arg3=0 arg4=1 arg5=1",
            "mm_page_alloc: (55bb7f17c5ef) arg1=42 arg2=3 arg3=0 arg4=-1 arg5=1",
            "mm_page_alloc: (55bb7f17c5ef) arg1=-2 arg2=3 arg3=0 arg4=1 arg5=1",
            "mm_page_alloc: (55bb7f17c5ef) arg1=42 arg2=3 arg3=GFP_KERNEL arg4=1 arg5=1",
            "mm_page_free: (55bb7f17c5ef) arg1=4294967296 arg2=3 arg3=1",
            "mm_page_free: (55bb7f17c5ef) arg1=42 arg2=3 arg3=65536",
            "mm_page_free: (55bb7f17c5ef) arg1=42 arg2=3 arg3=0",
            "mm_page_free: (55bb7f17c5ef) arg0=42 arg2=3 arg3=1",
            "mm_page_free: (55bb7f17c5ef) arg1=--1 arg2=3 arg3=1",
            "mm_page_free: (55bb7f17c5ef) page=0f pfn=0x2a order=0",
        ] {
            assert_eq!(event(&format!("{PERF}sdt_gfp:{text}")), None, "{text}");
        }
    }
}
