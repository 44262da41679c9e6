//! Free page reporting: free memory goes back to the system, and comes back as zeroes when it is used again
//! (`mm/page_reporting.c`).
//!
//! The kernel tells a hypervisor which pages are free; here the system is told, pageblock by pageblock. Who uses such memory again pays
//! with page faults, so it is done by a thread that was asked for, some time after the last frees, or when somebody says so.

use core::ops::Range;
use std::time::{Duration, Instant};

use crate::{
    alloc::Domain,
    frame::{FRAME_BYTES, Pfn},
    platform::PlatformError,
    sync::{Arc, Doorbell, LockRank, Mutex, MutexGuard},
    trace,
    zone::{FREED, Freed, PAGEBLOCK_FRAMES, ReportGoal, Reported, Zone},
};

/// What [`Allocator::trim`](crate::Allocator::trim) did. A block is 2 MiB.
///
/// ```
/// # use gfp::{Allocator, Gfp, Order};
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(10))?;
/// pages.bytes_mut().fill(std::mem::MaybeUninit::new(1));
/// drop(pages);
/// let trimmed = allocator.trim();
/// if let Some(error) = &trimmed.refusal {
///     eprintln!("{} blocks stay resident: {error}", trimmed.refused);
/// }
/// assert_eq!((trimmed.blocks, trimmed.bytes()), (2, 4 << 20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it says what the system refused"]
pub struct Trimmed {
    /// Blocks whose memory the system has back.
    pub blocks: u64,
    /// Free blocks that stay as they are because the system refused, or because no memory of this arena is given back.
    pub refused: u64,
    /// Why: of several refusals, the first.
    pub refusal: Option<PlatformError>,
    /// Free blocks that were left alone because they are locked in memory.
    pub locked: u64,
}

impl Trimmed {
    /// Returns the bytes that the system has back.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.blocks * PAGEBLOCK_FRAMES as u64 * FRAME_BYTES as u64
    }

    /// Adds what was done elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.refused += other.refused;
        self.locked += other.locked;
        if self.refusal.is_none() {
            self.refusal = other.refusal;
        }
    }
}

/// What an allocator knows of reporting.
#[derive(Debug, Default)]
pub(crate) struct Reporting {
    listening: Option<Listening>,
    /// The last refusal. A lock under which nothing else is taken.
    refusal: Mutex<Option<PlatformError>>,
}

/// How an allocator learns that there may be something to report.
#[derive(Debug)]
struct Listening {
    bell: Arc<Doorbell>,
    delay: Duration,
    /// Where no thread listens: when the bell was first found rung.
    heard: Mutex<Option<Instant>>,
}

impl Reporting {
    /// Listens for free blocks of a domain, and reports so long after they came back (`page_reporting_register`).
    pub(crate) fn after(domain: &Domain, delay: Duration) -> Self {
        let bell = Arc::new(Doorbell::new());
        domain.zones().iter().for_each(|zone| zone.notify_free(&bell));
        let listening = Some(Listening { bell, delay, heard: Mutex::new(None) });
        Self { listening, ..Self::default() }
    }

    /// Returns the bell that rings when there may be something to report, and how long after that it is reported; `None` where it is only
    /// when somebody asks.
    pub(crate) fn listening(&self) -> Option<(&Arc<Doorbell>, Duration)> {
        self.listening.as_ref().map(|listening| (&listening.bell, listening.delay))
    }

    /// Tells, where no thread listens, whether the delay after the first free has passed.
    pub(crate) fn is_due(&self) -> bool {
        let Some(listening) = &self.listening else { return false };
        let _rank = LockRank::Leaf.acquire();
        let mut heard = listening.heard.lock();
        if heard.is_none() && listening.bell.take() != 0 {
            *heard = Some(Instant::now());
        }
        let due = heard.is_some_and(|since| since.elapsed() >= listening.delay);
        if due {
            *heard = None;
        }
        due
    }

    /// Notes what came of a round, and has what was refused tried again after another delay.
    pub(crate) fn note(&self, trimmed: &Trimmed) {
        if let Some(error) = &trimmed.refusal {
            {
                let _rank = LockRank::Leaf.acquire();
                *self.refusal.lock() = Some(error.clone());
            }
            if let Some((bell, _)) = self.listening() {
                bell.ring(FREED, || true);
            }
        }
    }

    /// Returns the last refusal.
    pub(crate) fn refusal(&self) -> Option<PlatformError> {
        let _rank = LockRank::Leaf.acquire();
        self.refusal.lock().clone()
    }
}

/// Gives free blocks from frame `start` on, which are not known to be zero, back to the system (`page_reporting_process`).
///
/// `give_back` does so with frames that nobody has or can get meanwhile, and makes them zeroes; they are taken out of the free areas for
/// that. What it refuses is as before. With [`ReportGoal::AboveLow`] a zone's first refusal ends the round there. Ends early, with no
/// more than a batch of blocks to go, when `is_stopped` says so.
pub(crate) fn report_free(
    domain: &Domain,
    start: Pfn,
    goal: ReportGoal,
    is_stopped: impl Fn() -> bool,
    give_back: impl Fn(&Range<Pfn>) -> Result<(), PlatformError>,
) -> Trimmed {
    let mut trimmed = Trimmed::default();
    for zone in domain.zones() {
        let mut rest = zone.span().start.max(start)..zone.span().end;
        loop {
            // Whoever counts what is in use of a range waits until what is out is back.
            let one_at_a_time = domain.resizing();
            if rest.is_empty() || domain.is_closed() || is_stopped() {
                break;
            }
            let (next, done) = report_some(domain, zone, &rest, goal, &give_back, &one_at_a_time);
            let refused = done.refused > 0;
            trimmed.add(done);
            match next {
                Some(next) if !refused || goal == ReportGoal::Everything => rest.start = next,
                _ => break,
            }
        }
    }
    trimmed
}

/// Gives some blocks of a zone back to the system, and returns where to go on.
fn report_some(
    domain: &Domain,
    zone: &Zone,
    range: &Range<Pfn>,
    goal: ReportGoal,
    give_back: &impl Fn(&Range<Pfn>) -> Result<(), PlatformError>,
    _one_at_a_time: &MutexGuard<'_, ()>,
) -> (Option<Pfn>, Trimmed) {
    let mut trimmed = Trimmed::default();
    let taken = zone.take_unreported(range, goal);
    for frames in taken.ranges() {
        let blocks = u64::from((frames.end.get() - frames.start.get()) / PAGEBLOCK_FRAMES);
        let given = give_back(&frames);
        trace::page_reporting(frames.start, blocks * u64::from(PAGEBLOCK_FRAMES), errno(&given));
        let reported = match given {
            Ok(()) => {
                trimmed.blocks += blocks;
                Reported::GivenBack
            }
            Err(error) => {
                trimmed.add(Trimmed { refused: blocks, refusal: Some(error), ..Trimmed::default() });
                Reported::Refused
            }
        };
        if let Freed::Closed(frames) = zone.put_reported(&frames, reported) {
            domain.caches().settle(frames);
        }
    }
    (taken.rest(), trimmed)
}

/// Returns the system's number for what it answered: 0 for yes, −1 where it was not asked.
fn errno(given: &Result<(), PlatformError>) -> i32 {
    match given {
        Ok(()) => 0,
        Err(PlatformError::SystemCall { errno, .. }) => errno.raw_os_error(),
        Err(_) => -1,
    }
}
