//! Ranges of frames, and caches that have some of them.

use core::{cell::Cell, ops::Range};
use std::sync::mpsc::channel;

use super::{FRAMES, asked, cache, domain, free, number};
use crate::{
    Gfp,
    alloc::{
        Asked, Domain, NoPressure, PastCache, alloc_contig_range, alloc_pages, free_contig_range, put_cached,
        start_isolate, undo_isolate,
    },
    error::RangeProblem,
    frame::Pfn,
    pcp::{Put, ThreadCache},
    sync::{Arc, Owner, thread},
    zone::PAGEBLOCK_FRAMES,
};

/// Lets the calling thread's cache have frames, and returns one of them.
fn fill(domain: &Domain, owner: &Owner<ThreadCache>) -> Pfn {
    let content = Cell::default();
    let request = Asked { owner: Some(owner), ..asked(domain, &NoPressure, Gfp::KERNEL, 0, &content) };
    let block = alloc_pages(&request).expect("room");
    assert_eq!(put_cached(owner.enter(), block), Put::Cached);
    block.pfn()
}

/// Returns the pageblock around a frame.
fn around(pfn: Pfn) -> Range<Pfn> {
    let start = Pfn::new(pfn.get() / PAGEBLOCK_FRAMES * PAGEBLOCK_FRAMES);
    start..start.add(PAGEBLOCK_FRAMES)
}

#[test]
fn what_waits_in_a_cache_is_not_in_the_way_of_a_range() {
    let domain = domain(&[FRAMES], 0);
    let owner = cache(&domain);
    let range = around(fill(&domain, &owner));
    assert!(free(&domain) < FRAMES);
    let past = PastCache::count(number());
    // The second time all of it is free.
    for _ in 0..2 {
        alloc_contig_range(&domain, &range).expect("what is not free is in the cache");
        assert_eq!(past.balance(), -i64::from(PAGEBLOCK_FRAMES));
        assert_eq!(free(&domain), FRAMES - u64::from(PAGEBLOCK_FRAMES));
        free_contig_range(&domain, &range);
        assert_eq!((past.balance(), free(&domain)), (0, FRAMES));
    }
}

#[test]
fn of_a_pageblock_next_to_a_range_nothing_is_asked() {
    let domain = domain(&[FRAMES], 0);
    let content = Cell::default();
    let block = alloc_pages(&asked(&domain, &NoPressure, Gfp::KERNEL, 4, &content)).expect("room");
    let range = around(block.pfn());
    let next = range.end..range.end.add(PAGEBLOCK_FRAMES);
    start_isolate(&domain, &next).expect("free");
    let refused = alloc_contig_range(&domain, &range).expect_err("a block is in use").problem;
    assert_eq!(refused, RangeProblem::FrameInUse(block.pfn()));
    undo_isolate(&domain, &next).expect("isolated");
}

#[test]
fn a_cache_that_was_in_use_is_drained_when_its_owner_has_left_it() {
    let domain = Arc::new(domain(&[FRAMES], 0));
    let all = Pfn::new(0)..Pfn::new(u32::try_from(FRAMES).expect("few"));
    // Where another program has the CPU, its owner leaves it too late now and then.
    let is_drained = (0..100).any(|_| {
        let skipped = domain.caches().skipped();
        let (entered, is_entered) = channel();
        let (done, is_done) = channel::<()>();
        let busy = thread::spawn({
            let domain = Arc::clone(&domain);
            move || {
                let owner = cache(&domain);
                fill(&domain, &owner);
                let inside = owner.enter().expect("nobody is");
                entered.send(()).expect("somebody waits");
                while domain.caches().skipped() == skipped {
                    thread::yield_now();
                }
                drop(inside);
                is_done.recv().expect("a word");
            }
        });
        is_entered.recv().expect("a word");
        let used = start_isolate(&domain, &all).expect("nothing is isolated");
        assert!(domain.caches().skipped() > skipped);
        undo_isolate(&domain, &all).expect("isolated");
        done.send(()).expect("it waits");
        busy.join().expect("no panic");
        used == 0
    });
    assert!(is_drained);
}
