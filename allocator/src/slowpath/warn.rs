//! What the application is told when a request fails: `warn_alloc`.

use core::fmt;
use std::time::Instant;

use crate::{
    alloc::call_application,
    error::AllocError,
    gfp::Gfp,
    node::NodeMask,
    platform::comm,
    stats::MemInfo,
    sync::{
        SharedCounter,
        atomic::{AtomicU64, Ordering},
    },
};

/// Called when a request fails, on its thread.
pub(crate) type FailureHook = Box<dyn Fn(&AllocFailure) + Send + Sync>;

/// A report follows another after so long at the soonest: 10 s.
const INTERVAL_MS: u64 = 10_000;

/// A request that failed, and the memory there was then.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AllocFailure {
    /// Name of the thread.
    pub comm: String,
    /// What was asked, what was tried and why it failed.
    pub error: AllocError,
    /// The nodes that the request named.
    pub nodemask: NodeMask,
    /// The nodes with memory that requests may use.
    pub mems_allowed: NodeMask,
    /// Failures since the last report that were not reported, because it was less than 10 s ago.
    pub suppressed: u64,
    /// What there is.
    pub mem_info: MemInfo,
}

impl fmt::Display for AllocFailure {
    /// Writes the kernel's words, and the error's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comm, error, nodemask, mems_allowed, suppressed, mem_info } = self;
        if *suppressed > 0 {
            writeln!(f, "warn_alloc: {suppressed} callbacks suppressed")?;
        }
        let (order, gfp) = (error.order(), error.gfp());
        write!(
            f,
            "{comm}: page allocation failure: order:{order}, mode:{:#x}({gfp}), nodemask=",
            gfp.bits()
        )?;
        match *nodemask {
            NodeMask::ALL => f.write_str("(null)")?,
            nodes => write!(f, "{nodes}")?,
        }
        write!(f, ",cpuset=/,mems_allowed={mems_allowed}\n{error}\n{mem_info}")
    }
}

/// What came of failures so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarnCounts {
    /// Failures that the callback was told of.
    pub reported: u64,
    /// Failures that it was not told of, because another had been reported less than 10 s before.
    pub suppressed: u64,
    /// How often it panicked.
    pub panics: u64,
}

/// Tells the application of failures, one in 10 s.
pub(super) struct WarnAlloc {
    hook: Option<FailureHook>,
    /// What times are counted from.
    start: Instant,
    /// When the next failure is reported, in milliseconds since the start.
    next_ms: AtomicU64,
    reported: SharedCounter,
    suppressed: SharedCounter,
    /// What of `suppressed` a report has said.
    told: AtomicU64,
    panics: SharedCounter,
}

impl WarnAlloc {
    pub(super) fn new(hook: Option<FailureHook>) -> Self {
        let ([next_ms, told], [reported, suppressed, panics]) = Default::default();
        Self { hook, start: Instant::now(), next_ms, reported, suppressed, told, panics }
    }

    /// Tells the application of a failure, unless the request asked for silence or it is too soon; `report` makes the report from the number
    /// of those that were passed over.
    ///
    /// The callback may free and, to a small amount, allocate. A panic ends here.
    pub(super) fn warn(&self, gfp: Gfp, report: impl FnOnce(u64) -> AllocFailure) {
        let Some(hook) = &self.hook else { return };
        if gfp.contains(Gfp::NOWARN) {
            return;
        }
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !self.is_due(now_ms) {
            self.suppressed.add(1);
            return;
        }
        self.reported.add(1);
        let suppressed = self.suppressed.get();
        let untold = suppressed.saturating_sub(self.told.swap(suppressed, Ordering::Relaxed));
        // It takes locks, which a signal handler must not wait for.
        let report = report(untold);
        if call_application(|| hook(&report)).is_none() {
            self.panics.add(1);
        }
    }

    /// Tells whether a failure is to be reported, and if so, to nobody else for a while.
    fn is_due(&self, now_ms: u64) -> bool {
        let next = self.next_ms.load(Ordering::Relaxed);
        let (relaxed, then) = (Ordering::Relaxed, now_ms.saturating_add(INTERVAL_MS));
        now_ms >= next && self.next_ms.compare_exchange(next, then, relaxed, relaxed).is_ok()
    }

    pub(super) fn counts(&self) -> WarnCounts {
        WarnCounts {
            reported: self.reported.get(),
            suppressed: self.suppressed.get(),
            panics: self.panics.get(),
        }
    }
}

impl fmt::Debug for WarnAlloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarnAlloc").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl AllocFailure {
    /// Says that a request of the calling thread failed.
    pub(super) fn new(
        error: AllocError,
        nodemask: NodeMask,
        mems_allowed: NodeMask,
        suppressed: u64,
        mem_info: MemInfo,
    ) -> Self {
        Self { comm: comm(), error, nodemask, mems_allowed, suppressed, mem_info }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::error::FailReason;

    fn failure(suppressed: u64) -> AllocFailure {
        let error = AllocError::new(Gfp::KERNEL, 2, FailReason::NoMemory);
        AllocFailure::new(error, NodeMask::ALL, NodeMask::from_bits(0b11), suppressed, MemInfo::default())
    }

    #[test]
    fn one_failure_in_ten_seconds_is_due() {
        let warn = WarnAlloc::new(None);
        let due = [0, 1, 9_999, 10_000, 19_999, 20_000].map(|ms| warn.is_due(ms));
        assert_eq!(due, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_report_reads_as_the_kernels() {
        let failure = AllocFailure { comm: "worker".to_owned(), ..failure(3) };
        let text = failure.to_string();
        let expected = "warn_alloc: 3 callbacks suppressed\n\
                        worker: page allocation failure: order:2, mode:0xcc0(GFP_KERNEL), \
                        nodemask=(null),cpuset=/,mems_allowed=0-1\n\
                        cannot allocate 2^2 frames with GFP_KERNEL: ";
        assert!(text.starts_with(expected), "{text}");
        let bound =
            AllocFailure { nodemask: NodeMask::from_bits(0b10), suppressed: 0, ..failure }.to_string();
        assert!(bound.contains("nodemask=1,cpuset") && !bound.contains("suppressed"), "{bound}");
    }

    #[test]
    fn a_callback_is_spared_what_follows_too_soon_and_may_panic() {
        let warn = WarnAlloc::new(Some(Box::new(|_| panic!("the callback's own"))));
        warn.warn(Gfp::NOWAIT, |_| unreachable!("it asked for silence"));
        for _ in 0..3 {
            warn.warn(Gfp::KERNEL, failure);
        }
        assert_eq!(warn.counts(), WarnCounts { reported: 1, suppressed: 2, panics: 1 });
    }
}
