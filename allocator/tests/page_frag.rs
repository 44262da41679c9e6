//! Fragments of pages: no two overlap, and a page goes back when its cache has left it and its last fragment is gone.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

mod common;

use core::{alloc::Layout, mem::MaybeUninit};
use std::collections::{BTreeMap, BTreeSet};

use common::{Random, assert_all_free};
use gfp::{
    Allocator, Gfp, Maintain, Nid, Order, PageFrag, PageFragCache, Pfn,
    error::{FailReason, FragError},
    sync::{Arc, Mutex, thread},
};
use gfp_oracle::Stamped;
use proptest::prelude::*;

fn small() -> Allocator {
    of_bytes(32 << 20)
}

fn of_bytes(bytes: usize) -> Allocator {
    let builder = Allocator::builder(bytes).dma(0).cpus(1).min_free_kbytes(0).watermark_scale_factor(1);
    builder.maintain(Maintain::ByHand).build().expect("address space")
}

#[derive(Clone, Debug)]
enum Step {
    Alloc {
        bytes: usize,
        align: usize,
    },
    Free(prop::sample::Index),
    Drain,
    /// Takes single frames or large blocks out of the way, or gives them back.
    Exhaust,
    Relieve,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![6 => 1usize..600, 3 => 600usize..4097, 1 => 4097usize..32_769];
    let alloc = (bytes, 0u32..13).prop_map(|(bytes, shift)| Step::Alloc { bytes, align: 1 << shift });
    prop_oneof![
        40 => alloc,
        30 => any::<prop::sample::Index>().prop_map(Step::Free),
        2 => Just(Step::Drain),
        1 => Just(Step::Exhaust),
        1 => Just(Step::Relieve),
    ]
}

/// What a cache is by its rules: the page at hand, how much of it is used, and which fragments are out.
#[derive(Default)]
struct PlainModel {
    page: Option<(Pfn, Order)>,
    used: usize,
    /// Start and end of each fragment by address, with its page.
    live: BTreeMap<usize, (usize, (Pfn, Order))>,
}

impl PlainModel {
    /// Returns the pages that are out: that at hand, and those of which there are fragments.
    fn pages(&self) -> BTreeSet<(Pfn, Order)> {
        self.live.values().map(|(_, page)| *page).chain(self.page).collect()
    }

    fn frames(&self) -> u64 {
        self.pages().iter().map(|(_, order)| u64::from(order.frames())).sum()
    }

    /// Checks a fragment that was given.
    fn gave(&mut self, fragment: &PageFrag, base: usize, bytes: usize, align: usize) {
        let start = fragment.as_ptr().addr();
        let (end, page) = (start + bytes, fragment.page());
        assert_eq!((fragment.len(), start % align), (bytes, 0));
        let before = self.live.range(..end).next_back();
        assert!(before.is_none_or(|(_, (other_end, _))| *other_end <= start), "two fragments overlap");
        let offset = start - base - page.0.offset_bytes();
        assert!(offset + bytes <= page.1.bytes(), "it lies in its page");
        // From the page at hand as long as there is room, and from the start of the next.
        let next = self.used.next_multiple_of(align);
        match self.page {
            Some(hand) if next + bytes <= hand.1.bytes() => assert_eq!((page, offset), (hand, next)),
            Some(hand) if bytes <= hand.1.bytes() => {
                let reused = self.live.values().all(|(_, other)| *other != hand);
                assert_eq!((page == hand, offset), (reused, 0), "the page is used again if it is empty");
            }
            hand => assert_eq!((Some(page) != hand, offset), (true, 0)),
        }
        self.page = Some(page);
        self.used = offset + bytes;
        self.live.insert(start, (end, page));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn fragments_and_pages_are_as_the_rules_say(steps in prop::collection::vec(step(), 1..400)) {
        let allocator = small();
        let base = allocator.arena().base().addr().get();
        let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
        let mut model = PlainModel::default();
        let (mut held, mut hogs) = (Vec::new(), Vec::new());
        for (stamp, step) in steps.into_iter().enumerate() {
            match step {
                Step::Alloc { bytes, align } => {
                    let layout = Layout::from_size_align(bytes, align).expect("a power of two");
                    match cache.alloc_align(layout) {
                        Ok(fragment) => {
                            model.gave(&fragment, base, bytes, align);
                            held.push(Stamped::new(fragment, stamp.to_le_bytes()[0]));
                        }
                        Err(error) => {
                            prop_assert!(matches!(error, FragError::NoMemory(_)), "{error}");
                            prop_assert!(!hogs.is_empty(), "there is memory: {error}");
                            // The page at hand is given up, unless it was too small anyway.
                            if model.page.is_some_and(|page| bytes <= page.1.bytes()) {
                                model.page = None;
                            }
                        }
                    }
                }
                Step::Free(index) if !held.is_empty() => {
                    let stamped: Stamped = held.swap_remove(index.index(held.len()));
                    stamped.check();
                    model.live.remove(&stamped.fragment.as_ptr().addr());
                }
                Step::Free(_) => {}
                Step::Drain => {
                    cache.drain();
                    model.page = None;
                }
                Step::Exhaust => {
                    // All blocks of order 3; 3 single frames are left, with no neighbours.
                    while let Ok(pages) = allocator.alloc_pages(Gfp::KERNEL, Order::new(3)) {
                        hogs.push(pages);
                    }
                    for _ in 0..3 {
                        hogs.pop().into_iter().for_each(|pages| pages.split_page(|frame| {
                            if frame.pfn().get() % 8 != 1 {
                                hogs.push(frame);
                            }
                        }));
                    }
                }
                Step::Relieve => hogs.clear(),
            }
            if hogs.is_empty() {
                prop_assert_eq!(allocator.conservation().allocated(), model.frames());
            }
        }
        drop(cache);
        model.page = None;
        hogs.clear();
        while let Some(stamped) = held.pop() {
            prop_assert_eq!(allocator.conservation().allocated(), model.frames());
            stamped.check();
            model.live.remove(&stamped.fragment.as_ptr().addr());
        }
        assert_all_free(&allocator);
    }
}

#[test]
fn fragments_are_freed_on_any_thread_while_their_cache_goes_on() {
    // More than all fragments that are out at a time can keep: 2000, each in a page of its own.
    let allocator = of_bytes(128 << 20);
    let passed_on = Arc::new(Mutex::new(Vec::<Stamped>::new()));
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let (allocator, passed_on) = (allocator.clone(), Arc::clone(&passed_on));
            thread::spawn(move || {
                let mut random = Random::new(seed);
                let mut cache = allocator.page_frag_cache(None, Gfp::KERNEL);
                let mut held = Vec::new();
                for step in 0..30_000_usize {
                    match random.below(100) {
                        0..45 if held.len() < 200 => {
                            let bytes = 1 + random.below(if step % 50 == 0 { 32 << 10 } else { 1500 });
                            let align = 1 << random.below(8);
                            let layout = Layout::from_size_align(bytes, align).expect("a power of two");
                            let fragment = cache.alloc_align(layout).expect("there is memory");
                            held.push(Stamped::new(fragment, step.to_le_bytes()[0]));
                        }
                        45..60 => {
                            let mut passed_on = passed_on.lock();
                            if passed_on.len() < 1000 {
                                passed_on.extend(held.pop());
                            }
                        }
                        60..70 if held.len() < 200 => held.extend(passed_on.lock().pop()),
                        70 if random.below(20) == 0 => {
                            cache = allocator.page_frag_cache(Some(Nid::new(0)), Gfp::ATOMIC);
                        }
                        _ if !held.is_empty() => {
                            held.swap_remove(random.below(held.len())).check();
                        }
                        _ => {}
                    }
                }
                held.iter().for_each(Stamped::check);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    passed_on.lock().drain(..).for_each(|stamped| stamped.check());
    assert_all_free(&allocator);
}

#[test]
fn a_page_whose_fragments_come_back_in_time_is_used_for_ever() {
    let allocator = small();
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    let page = cache.alloc(1).expect("there is memory").page();
    for _ in 0..100_000 {
        assert_eq!(cache.alloc(1000).expect("there is memory").page(), page);
    }
    assert_eq!(allocator.conservation().allocated(), 8);
}

#[test]
fn a_page_has_room_for_as_many_fragments_as_it_has_bytes() {
    let allocator = small();
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    let mut fragments: Vec<_> =
        (0..PageFragCache::MAX_BYTES).map(|_| cache.alloc(1).expect("there is memory")).collect();
    let page = fragments[0].page();
    assert!(fragments.iter().all(|fragment| fragment.page() == page));
    drop(cache);
    let last = fragments.pop().expect("many");
    drop(fragments);
    assert_eq!(allocator.conservation().allocated(), 8);
    drop(last);
    assert_all_free(&allocator);
}

#[test]
fn single_frames_serve_when_there_is_no_page_of_order_3() {
    let allocator = small();
    let mut hogs = Vec::new();
    while let Ok(pages) = allocator.alloc_page(Gfp::KERNEL) {
        hogs.push(pages);
    }
    hogs.retain(|frame| frame.pfn().get() % 8 != 5);
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    let first = cache.alloc(4000).expect("a frame is free");
    assert_eq!(first.page().1, Order::ZERO);
    // More than a frame has no such page, and leaves the page at hand alone.
    match cache.alloc(4097) {
        Err(FragError::NoMemory(error)) => {
            assert_eq!((error.reason(), error.order()), (FailReason::NoMemory, 3))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cache.alloc(96).expect("the rest of the frame").page(), first.page());
    assert_ne!(cache.alloc(1).expect("another frame").page(), first.page());
    drop((first, cache, hogs));
    assert_all_free(&allocator);
}

#[test]
fn what_cannot_be_given_is_refused_by_name() {
    let allocator = small();
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    let most = PageFragCache::MAX_BYTES;
    for bytes in [most + 1, u32::MAX as usize + 1, usize::MAX] {
        assert_eq!(cache.alloc(bytes).err(), Some(FragError::TooLarge { bytes, most }));
    }
    assert_eq!(cache.alloc(0).err(), Some(FragError::Empty));
    let layout = Layout::from_size_align(1, 8192).expect("a power of two");
    let refused = FragError::TooAligned { align: 8192, most: 4096 };
    assert_eq!(cache.alloc_align(layout).err(), Some(refused));
    let nowhere = allocator.page_frag_cache(Some(Nid::new(7)), Gfp::KERNEL);
    match nowhere.alloc(1) {
        Err(FragError::NoMemory(error)) => assert_eq!(error.reason(), FailReason::NoNode),
        other => panic!("{other:?}"),
    }
    assert_all_free(&allocator);
}

#[test]
fn fragments_are_cleared_also_in_a_page_that_is_used_again() {
    let allocator = small();
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL | Gfp::ZERO);
    for _ in 0..100 {
        let mut fragment = cache.alloc(3000).expect("there is memory");
        // SAFETY: with this mask, fragments are initialised.
        assert!(unsafe { fragment.assume_init_ref() }.iter().all(|byte| *byte == 0));
        fragment.fill(MaybeUninit::new(0xee));
    }
}
