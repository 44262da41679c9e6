//! The passes of one or more allocators.

use std::time::Duration;

use super::{
    Contestant, Job, Placement, Timeline, Verified, placement::placement, play::ZeroFlag, timeline::Placed,
};
use crate::{rivals::EMPTY, trace::Trace};

/// How often the trace is replayed for each of the two figures, by each allocator.
#[derive(Clone, Copy, Debug)]
pub struct Passes {
    /// So many timed passes, unless they take longer than `at_most`.
    pub least: usize,
    /// No more than so many.
    pub most: usize,
    /// Between these, passes are added until they have taken so long together.
    pub enough: Duration,
    /// After so long there is no further pass.
    pub at_most: Duration,
}

impl Default for Passes {
    /// From 5 to 101 passes, for a second; fewer when they take 10 seconds.
    fn default() -> Self {
        Self { least: 5, most: 101, enough: Duration::from_secs(1), at_most: Duration::from_secs(10) }
    }
}

impl Passes {
    /// Tells whether there is to be a further pass after `done` that took `spent` together; always one.
    fn go_on(&self, done: usize, spent: Duration) -> bool {
        done == 0 || done < self.least && spent < self.at_most || done < self.most && spent < self.enough
    }
}

/// What was measured of an allocator.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The allocator.
    pub allocator: &'static str,
    /// What the verify pass found; `None` for the allocator whose blocks are not memory.
    pub verified: Option<Verified>,
    /// Largest number of allocations that failed in a pass of any kind.
    pub failed: u64,
    /// Where the verify pass placed the blocks.
    pub placement: Option<Placement>,
    /// How that came about, where it was asked for.
    pub timeline: Option<Timeline>,
    /// Time of each pass that ignored `__GFP_ZERO`, in nanoseconds for an event, ascending.
    pub ns_per_event: Vec<f64>,
    /// The same for passes that honoured it.
    pub ns_per_event_zeroed: Vec<f64>,
    /// Whether all threads were pinned.
    pub pinned: bool,
}

/// Verifies each allocator, then times them: all are warmed once and then take turns, so that a disturbance of the
/// machine meets them alike. `tell` is called with what is about to be done. The allocators' threads end with it.
///
/// [`EMPTY`] is only timed: its blocks may not be touched.
pub fn measure(
    trace: &Trace,
    job: &Job,
    contestants: Vec<Contestant>,
    passes: Passes,
    mut tell: impl FnMut(&str),
) -> Vec<Measured> {
    let mut measured = Vec::with_capacity(contestants.len());
    for contestant in &contestants {
        tell(&format!("{}: verify", contestant.name));
        let checked = (contestant.name != EMPTY).then(|| contestant.verify(job.events));
        measured.push(Measured {
            allocator: contestant.name,
            verified: checked.as_ref().map(|(verified, _)| *verified),
            failed: checked.as_ref().map_or(0, |(verified, _)| verified.failed),
            placement: checked.as_ref().map(|(_, frames)| placement(trace, |event| frames[event])),
            timeline: checked
                .as_ref()
                .zip(contestant.timeline.clone())
                .map(|((_, first_frames), arena)| Timeline::of(trace, Placed { first_frames, arena })),
            ns_per_event: Vec::new(),
            ns_per_event_zeroed: Vec::new(),
            pinned: true,
        });
    }
    for zero_flag in [ZeroFlag::Ignored, ZeroFlag::Honoured] {
        time(job, &contestants, &mut measured, zero_flag, passes, &mut tell);
    }
    for measured in &mut measured {
        measured.ns_per_event.sort_by(f64::total_cmp);
        measured.ns_per_event_zeroed.sort_by(f64::total_cmp);
    }
    measured
}

/// Times all allocators, which take turns until each has its passes.
fn time(
    job: &Job,
    contestants: &[Contestant],
    measured: &mut [Measured],
    zero_flag: ZeroFlag,
    passes: Passes,
    tell: &mut impl FnMut(&str),
) {
    for contestant in contestants {
        tell(&format!("{}: warm, __GFP_ZERO {}", contestant.name, flag_text(zero_flag)));
        contestant.time(zero_flag);
    }
    let mut spent = vec![Duration::ZERO; contestants.len()];
    for done in 0..passes.most {
        let mut any = false;
        for ((contestant, measured), spent) in contestants.iter().zip(&mut *measured).zip(&mut spent) {
            if !passes.go_on(done, *spent) {
                continue;
            }
            any = true;
            tell(&format!("{}: pass {}, __GFP_ZERO {}", contestant.name, done + 1, flag_text(zero_flag)));
            let timed = contestant.time(zero_flag);
            *spent += timed.elapsed;
            measured.failed = measured.failed.max(timed.failed);
            measured.pinned &= timed.pinned;
            let figures = match zero_flag {
                ZeroFlag::Ignored => &mut measured.ns_per_event,
                ZeroFlag::Honoured => &mut measured.ns_per_event_zeroed,
            };
            figures.push(timed.elapsed.as_secs_f64() * 1e9 / job.events.max(1) as f64);
        }
        if !any {
            break;
        }
    }
}

fn flag_text(zero_flag: ZeroFlag) -> &'static str {
    match zero_flag {
        ZeroFlag::Ignored => "ignored",
        ZeroFlag::Honoured => "honoured",
    }
}

impl Measured {
    /// Tells whether no allocation failed and every block was as it should be.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.verified.is_none_or(|verified| verified.is_clean())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_end_by_number_and_by_time() {
        let passes = Passes::default();
        let second = Duration::from_secs(1);
        assert!(passes.go_on(0, 100 * second));
        assert!(passes.go_on(4, 9 * second) && !passes.go_on(4, 10 * second));
        assert!(
            passes.go_on(100, second / 2) && !passes.go_on(5, second) && !passes.go_on(101, Duration::ZERO)
        );
    }
}
