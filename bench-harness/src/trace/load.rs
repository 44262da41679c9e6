//! A whole trace, with an account of everything in its file.

use std::{fmt, io, io::Read};

use super::{
    Account, Event, Op,
    event::PageEvent,
    input::LineReader,
    line::{Line, Mobility, asks_for_zero, named_mobility, parse},
    pairing::Pairing,
    prefix::TaskStyle,
    usdt,
};
use crate::rival::{Migrate, Zeroing};

/// The layout of a trace's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ftrace's `trace` file, or `trace-cmd report`.
    Ftrace,
    /// `perf script`.
    Perf,
}

impl Format {
    fn of(style: TaskStyle) -> Self {
        match style {
            TaskStyle::Dash => Self::Ftrace,
            TaskStyle::Space => Self::Perf,
        }
    }

    /// Returns the name that the command line uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ftrace => "ftrace",
            Self::Perf => "perf",
        }
    }
}

/// Whose allocations a trace tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A kernel's.
    Kernel,
    /// Those of a process that uses gfp, by its probes.
    Gfp,
}

impl Source {
    /// Returns the name that records have.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Gfp => "gfp",
        }
    }
}

/// How many lines of each kind a trace had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// All lines.
    pub total: u64,
    /// `mm_page_alloc`, failed ones too.
    pub page_alloc: u64,
    /// `mm_page_free`.
    pub page_free: u64,
    /// `mm_page_free_batched`; each comes with an `mm_page_free`.
    pub page_free_batched: u64,
    /// `mm_page_alloc_zone_locked`.
    pub page_alloc_zone_locked: u64,
    /// `mm_page_pcpu_drain`.
    pub page_pcpu_drain: u64,
    /// `mm_page_alloc_extfrag`.
    pub page_alloc_extfrag: u64,
    /// Other tracepoints.
    pub other_events: u64,
    /// Events that the recorder says it lost.
    pub lost_events: u64,
    /// How often it said so, with a number or without.
    pub lost_reports: u64,
    /// Lines that are nothing that traces contain.
    pub unparsable: u64,
    /// The first of them: line number from 1, and the beginning of its text.
    pub first_unparsable: Option<(u64, String)>,
    /// Allocations whose migrate type is none of the three that requests can ask for; replayed as unmovable.
    pub unusual_migratetypes: u64,
}

/// A trace, ready to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Allocations and frees of blocks, in the order of the file.
    pub events: Vec<Event>,
    /// The recorded first frame of each slot's blocks; an allocator's frames begin at its number times 2^48.
    pub pfns: Vec<u64>,
    /// The CPUs that replayed events happened on, ascending.
    pub cpus: Vec<u16>,
    /// What became of allocations and frees.
    pub account: Account,
    /// What the file's lines were.
    pub lines: Lines,
    /// The layout that was found, or asked for.
    pub format: Format,
    /// Whose allocations they are, by the first.
    pub source: Source,
}

/// Why a trace cannot be replayed.
#[derive(Debug)]
pub enum TraceError {
    /// Reading failed.
    Io(io::Error),
    /// The gzip stream is damaged or ends early.
    Gzip(io::Error),
    /// The file has no lines.
    Empty,
    /// The file is a recording in another encoding; what to do about it.
    NotText(&'static str),
    /// No line tells of a page that was allocated; what the lines were.
    NoAllocation(Box<Lines>),
    /// More than 2^32 − 2 events.
    TooLong,
}

impl TraceError {
    pub(super) fn from_read(error: io::Error, gzip: bool) -> Self {
        if gzip { Self::Gzip(error) } else { Self::Io(error) }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Gzip(error) => write!(f, "the gzip stream is damaged or ends early: {error}"),
            Self::Empty => f.write_str("the trace is empty"),
            Self::NotText(advice) => f.write_str(advice),
            Self::NoAllocation(lines) => {
                let Lines { total, page_alloc, page_free, other_events, unparsable, .. } = &**lines;
                write!(
                    f,
                    "no successful mm_page_alloc in {total} lines: {page_alloc} mm_page_alloc, {page_free} mm_page_free, \
                     {other_events} events of other kinds, {unparsable} not understood"
                )?;
                match &lines.first_unparsable {
                    Some((number, text)) => write!(f, "; the first of these is line {number}: {text}"),
                    None => Ok(()),
                }
            }
            Self::TooLong => f.write_str("more than 2^32 - 2 allocations and frees"),
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) | Self::Gzip(error) => Some(error),
            _ => None,
        }
    }
}

impl Trace {
    /// Reads a trace as text, plain or gzip; its layout is that of its first event unless `format` says it.
    ///
    /// # Errors
    ///
    /// When reading or unpacking fails, and when there is nothing to replay: see [`TraceError`].
    pub fn read(source: impl Read, format: Option<Format>) -> Result<Self, TraceError> {
        let mut input = LineReader::new(source)?;
        let mut reading = Reading { format, ..Reading::default() };
        while let Some(line) = input.next()? {
            reading.line(line);
            if u32::try_from(reading.pairing.events.len() + (1 << super::MAX_ORDER)).is_err() {
                return Err(TraceError::TooLong);
            }
        }
        reading.finish()
    }
}

/// How a kernel numbers the movable and the reclaimable type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbering {
    /// Movable 1, reclaimable 2: since 4.4.
    MovableFirst,
    /// Reclaimable 1, movable 2.
    ReclaimableFirst,
}

#[derive(Default)]
struct Reading {
    format: Option<Format>,
    lines: Lines,
    pairing: Pairing,
    numbering: Option<Numbering>,
}

impl Reading {
    fn line(&mut self, bytes: &[u8]) {
        self.lines.total += 1;
        match parse(bytes) {
            Some(Line::Event(style, event)) => {
                if *self.format.get_or_insert(Format::of(style)) == Format::of(style) {
                    self.event(event);
                } else {
                    self.unparsable(bytes);
                }
            }
            Some(Line::Lost(count)) => {
                self.lines.lost_reports += 1;
                self.lines.lost_events += count.unwrap_or(0);
            }
            Some(Line::Silent) => {}
            None => self.unparsable(bytes),
        }
    }

    fn event(&mut self, event: PageEvent<'_>) {
        let lines = &mut self.lines;
        match event {
            PageEvent::Alloc { cpu, pfn, order, migratetype, gfp_flags } => {
                lines.page_alloc += 1;
                let Some(pfn) = pfn else {
                    self.pairing.account.trace_failures += 1;
                    return;
                };
                let zeroing = if asks_for_zero(gfp_flags) { Zeroing::Zeroed } else { Zeroing::Untouched };
                let migrate = self.migrate(migratetype, gfp_flags);
                self.pairing.alloc(cpu, pfn, order, migrate, zeroing);
            }
            PageEvent::Free { cpu, pfn, order } => {
                lines.page_free += 1;
                self.pairing.free(cpu, pfn, order);
            }
            PageEvent::FreeBatched => lines.page_free_batched += 1,
            PageEvent::AllocZoneLocked => lines.page_alloc_zone_locked += 1,
            PageEvent::PcpuDrain => lines.page_pcpu_drain += 1,
            PageEvent::AllocExtfrag => lines.page_alloc_extfrag += 1,
            PageEvent::Other => lines.other_events += 1,
        }
    }

    /// Translates a migrate type, and watches for a request whose flags give the numbering away.
    fn migrate(&mut self, migratetype: u8, gfp_flags: &[u8]) -> Migrate {
        if self.numbering.is_none() && matches!(migratetype, 1 | 2) {
            self.numbering = named_mobility(gfp_flags).map(|mobility| match (mobility, migratetype) {
                (Mobility::Movable, 1) | (Mobility::Reclaimable, 2) => Numbering::MovableFirst,
                _ => Numbering::ReclaimableFirst,
            });
        }
        match migratetype {
            0 => Migrate::Unmovable,
            1 => Migrate::Movable,
            2 => Migrate::Reclaimable,
            _ => {
                self.lines.unusual_migratetypes += 1;
                Migrate::Unmovable
            }
        }
    }

    #[cold]
    fn unparsable(&mut self, bytes: &[u8]) {
        self.lines.unparsable += 1;
        if self.lines.first_unparsable.is_none() {
            let shown = &bytes[..bytes.len().min(160)];
            let text = String::from_utf8_lossy(shown).trim().escape_debug().to_string();
            self.lines.first_unparsable = Some((self.lines.total, text));
        }
    }

    fn finish(self) -> Result<Trace, TraceError> {
        let Self { format, lines, pairing: Pairing { mut events, pfns, account, .. }, numbering } = self;
        let Some(format) = format.filter(|_| account.allocs > 0) else {
            return Err(if lines.total == 0 {
                TraceError::Empty
            } else {
                TraceError::NoAllocation(Box::new(lines))
            });
        };
        if numbering == Some(Numbering::ReclaimableFirst) {
            for event in &mut events {
                event.op = match event.op {
                    Op::Alloc(Migrate::Movable, zeroing) => Op::Alloc(Migrate::Reclaimable, zeroing),
                    Op::Alloc(Migrate::Reclaimable, zeroing) => Op::Alloc(Migrate::Movable, zeroing),
                    other => other,
                };
            }
        }
        let mut cpus: Vec<u16> = events.iter().map(|event| event.cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        let source =
            if pfns.first().is_some_and(|&pfn| usdt::is_ours(pfn)) { Source::Gfp } else { Source::Kernel };
        Ok(Trace { events, pfns, cpus, account, lines, format, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        Trace::read(text.as_bytes(), None)
    }

    const ALLOC: &str = " t-1 [000] ..... 1.0: mm_page_alloc: page=0f pfn=0x2a order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO\n";
    const FREE: &str = " t-1 [001] ..... 1.0: mm_page_free: page=0f pfn=0x2a order=0\n";

    #[test]
    fn a_batched_free_is_counted_once() {
        let trace = read(&format!(
            "{ALLOC}{FREE} t-1 [001] ..... 1.0: mm_page_free_batched: page=0f pfn=0x2a order=0\n"
        ))
        .unwrap();
        assert_eq!(
            (trace.account.frees, trace.account.unmatched_frees, trace.lines.page_free_batched),
            (1, 0, 1)
        );
        assert_eq!(trace.cpus, [0, 1]);
        assert_eq!(trace.events[0].op, Op::Alloc(Migrate::Movable, Zeroing::Zeroed));
    }

    #[test]
    fn failures_losses_and_unparsable_lines_are_counted() {
        let trace = read(&format!(
            "# tracer: nop\n{ALLOC}CPU:1 [LOST 42 EVENTS]\nbroken\nalso broken\n t-1 [000] ..... 1.0: mm_page_alloc: \
             page=(null) pfn=0x0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE\n"
        ))
        .unwrap();
        assert_eq!(trace.account.trace_failures, 1);
        assert_eq!((trace.lines.lost_events, trace.lines.lost_reports), (42, 1));
        assert_eq!((trace.lines.unparsable, trace.lines.first_unparsable), (2, Some((4, "broken".into()))));
        assert_eq!(trace.lines.total, 6);
    }

    #[test]
    fn a_file_without_allocations_is_an_error_that_says_what_was_found() {
        assert!(matches!(read(""), Err(TraceError::Empty)));
        let error = read("hello\nworld\n").unwrap_err();
        assert!(error.to_string().contains("line 1: hello"), "{error}");
        assert!(matches!(read(FREE), Err(TraceError::NoAllocation(_))));
        assert!(matches!(read("# only a comment\n"), Err(TraceError::NoAllocation(_))));
    }

    #[test]
    fn the_format_is_that_of_the_first_event_and_can_be_demanded() {
        assert_eq!(read(ALLOC).unwrap().format, Format::Ftrace);
        assert!(Trace::read(ALLOC.as_bytes(), Some(Format::Perf)).is_err());
        let perf = "t 1 [000] 1.0: kmem:mm_page_alloc: page=0x2a pfn=0x2a order=0 migratetype=0 gfp_flags=GFP_KERNEL\n";
        assert_eq!(read(perf).unwrap().format, Format::Perf);
        assert_eq!(read(&format!("{perf}{ALLOC}")).unwrap().lines.unparsable, 1);
    }

    #[test]
    fn the_numbering_of_old_kernels_is_recognised() {
        let old = " t-1 [000] .... 1.0: mm_page_alloc: page=0f pfn=41 order=0 migratetype=1 gfp_flags=GFP_KERNEL|GFP_RECLAIMABLE\n t-1 [000] .... 1.0: mm_page_alloc: page=0f pfn=42 order=0 migratetype=2 gfp_flags=GFP_HIGHUSER_MOVABLE\n";
        let types: Vec<_> = read(old).unwrap().events.iter().map(|event| event.op).collect();
        assert_eq!(
            types,
            [
                Op::Alloc(Migrate::Reclaimable, Zeroing::Untouched),
                Op::Alloc(Migrate::Movable, Zeroing::Untouched)
            ]
        );
    }
}
