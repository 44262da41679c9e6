//! A recorded trace, whole or damaged.

use std::collections::BTreeMap;

use bench_harness::trace::{Op, Trace, TraceError};

/// Checks a trace's text, plain or gzip.
pub fn check(bytes: &[u8]) {
    let trace = match Trace::read(bytes, None) {
        Ok(trace) => trace,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!matches!(error, TraceError::Io(_)), "bytes in memory can be read");
            return;
        }
    };
    let again = Trace::read(bytes, Some(trace.format));
    assert_eq!(again.expect("its own layout was asked for"), trace);
    replayable(&trace);
    accounted(&trace);
}

/// Checks that each slot's block is allocated and freed in turns.
fn replayable(trace: &Trace) {
    let mut live = BTreeMap::new();
    let (mut frames, mut peak) = (0_u64, 0);
    let (mut allocs, mut frees) = (0, 0);
    for event in &trace.events {
        let size = 1 << event.order;
        match event.op {
            Op::Alloc(..) => {
                assert_eq!(live.insert(event.slot, event.order), None, "{event:?}: the slot is full");
                frames += size;
                allocs += 1;
            }
            Op::Free => {
                assert_eq!(live.remove(&event.slot), Some(event.order), "{event:?}: not what it holds");
                frames -= size;
                frees += 1;
            }
        }
        peak = peak.max(frames);
        assert!((event.slot as usize) < trace.pfns.len());
        assert!(trace.cpus.binary_search(&event.cpu).is_ok());
    }
    let account = &trace.account;
    assert_eq!((account.allocs, account.frees), (allocs, frees));
    assert_eq!((account.live_frames_at_end, account.peak_live_frames), (frames, peak));
}

/// Checks that every line is accounted for once.
fn accounted(trace: &Trace) {
    let (lines, account) = (&trace.lines, &trace.account);
    assert_eq!(lines.page_alloc, account.allocs + account.trace_failures);
    assert!(account.unmatched_frees <= lines.page_free);
    let named = lines.page_alloc
        + lines.page_free
        + lines.page_free_batched
        + lines.page_alloc_zone_locked
        + lines.page_pcpu_drain
        + lines.page_alloc_extfrag
        + lines.other_events
        + lines.lost_reports
        + lines.unparsable;
    // Comments and empty lines have no count of their own.
    assert!(named <= lines.total, "{lines:?}");
    assert_eq!(lines.first_unparsable.is_some(), lines.unparsable > 0);
}
