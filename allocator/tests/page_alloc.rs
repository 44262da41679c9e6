//! Collections whose memory is blocks: what they hold survives every move, and every block comes back.
#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

mod common;

use core::{alloc::Layout, ptr::NonNull};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::RandomState,
    sync::mpsc,
};

use allocator_api2::{
    alloc::{AllocError, Allocator as _},
    boxed::Box,
    vec::Vec as PageVec,
};
use common::{Random, assert_all_free};
use gfp::{
    Allocator, Gfp, Maintain, Order, PageAlloc,
    error::Misuse,
    platform::{Arena, ArenaOptions},
    sync::{Arc, Mutex, thread},
};
use hashbrown::HashMap;
use proptest::prelude::*;

fn small() -> Allocator {
    let builder = Allocator::builder(64 << 20).dma(0).cpus(1).min_free_kbytes(0).watermark_scale_factor(1);
    builder.maintain(Maintain::ByHand).build().expect("64 MiB")
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a power of two")
}

#[test]
fn a_vector_grows_over_all_orders_and_shrinks_again() {
    let allocator = small();
    let mut numbers = PageVec::new_in(PageAlloc::new(&allocator, Gfp::KERNEL));
    for number in 0..1 << 18 {
        numbers.push(number);
        let frames = (numbers.capacity() * size_of::<i32>()).div_ceil(4096) as u64;
        assert_eq!(allocator.conservation().allocated(), frames.next_power_of_two());
    }
    while numbers.len() > 100 {
        numbers.truncate(numbers.len() / 2);
        numbers.shrink_to_fit();
        let frames = (numbers.len() * size_of::<i32>()).div_ceil(4096) as u64;
        assert_eq!(allocator.conservation().allocated(), frames.next_power_of_two());
        assert!(numbers.iter().copied().eq(0..i32::try_from(numbers.len()).expect("small")));
    }
    drop(numbers);
    assert_all_free(&allocator);
}

#[test]
fn a_map_that_grows_is_as_one_of_the_heap() {
    let allocator = small();
    let pages = PageAlloc::new(allocator.clone(), Gfp::HIGHUSER_MOVABLE);
    let mut map = HashMap::with_hasher_in(RandomState::new(), pages);
    let mut model = BTreeMap::new();
    let mut random = Random::new(5);
    for step in 0..100_000_u64 {
        let key = random.below(40_000);
        if random.below(3) == 0 {
            assert_eq!(map.remove(&key), model.remove(&key));
        } else {
            assert_eq!(map.insert(key, step), model.insert(key, step));
        }
        if step == 60_000 {
            map.retain(|key, _| key % 8 == 0);
            model.retain(|key, _| key % 8 == 0);
            map.shrink_to_fit();
        }
    }
    let mut all: Vec<_> = map.iter().map(|(key, value)| (*key, *value)).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(model));
    drop(map);
    assert_all_free(&allocator);
}

#[test]
fn boxes_go_to_other_threads_and_keep_the_allocator() {
    let allocator = small();
    let base = allocator.arena().base();
    let pages = PageAlloc::new(allocator, Gfp::KERNEL | Gfp::ZERO);
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        for (number, mut boxed) in receiver.into_iter().enumerate() {
            let boxed: &mut Box<[u64; 1000], _> = &mut boxed;
            assert_eq!(**boxed, [number as u64; 1000]);
            boxed.fill(0);
        }
    });
    for number in 0..500 {
        sender.send(Box::new_in([number; 1000], pages.clone())).expect("it runs");
    }
    drop(sender);
    thread.join().expect("no panic");
    let address = Box::new_in(7_u8, pages.clone());
    assert!((&raw const *address).addr() - base.addr().get() < 64 << 20);
    drop(address);
    assert_all_free(pages.allocator());
}

#[test]
fn every_layout_up_to_the_largest_order_is_served() {
    let allocator = small();
    let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
    // The arena begins at 2 MiB at least.
    for align in (0..=21).map(|shift| 1_usize << shift) {
        for size in [1, 16, 4095, 4096, 4097, 12_288, 1 << 20, 4 << 20] {
            let layout = layout(size, align);
            let memory = pages.allocate(layout).expect("there is memory");
            let start = memory.cast::<u8>();
            let expected = size.max(align).next_power_of_two().max(4096);
            assert_eq!((start.addr().get() % align, memory.len()), (0, expected), "{layout:?}");
            assert_eq!(allocator.conservation().allocated(), (expected / 4096) as u64);
            // SAFETY: the block was allocated just now.
            unsafe { pages.deallocate(start, layout) };
        }
    }
    for layout in [layout((4 << 20) + 1, 1), layout(1, 8 << 20), layout(1 << 62, 1), layout(1, 1 << 62)] {
        assert_eq!(pages.allocate(layout), Err(AllocError), "{layout:?}");
        assert_eq!(pages.allocate_zeroed(layout), Err(AllocError), "{layout:?}");
    }
    assert_all_free(&allocator);
}

#[test]
fn an_alignment_that_the_arena_does_not_have_is_refused() {
    // 64 KiB behind a boundary of 2 MiB.
    let whole = Arena::new(&ArenaOptions::new(64 << 20)).expect("64 MiB");
    let base = whole.ptr_at(64 << 10);
    // SAFETY: the mapping is that large, lives longer, and nobody else uses it.
    let builder = unsafe { Allocator::builder(32 << 20).from_raw(base) };
    let allocator = builder.dma(0).maintain(Maintain::ByHand).build().expect("a lent mapping");
    let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
    let served = layout(1, 64 << 10);
    let memory = pages.allocate(served).expect("there is memory").cast::<u8>();
    assert!(memory.addr().get().is_multiple_of(64 << 10));
    // SAFETY: the block was allocated just now.
    unsafe { pages.deallocate(memory, served) };
    assert_eq!(pages.allocate(layout(1, 128 << 10)), Err(AllocError));
    drop(allocator);
}

#[test]
fn no_bytes_need_no_memory() {
    let allocator = small();
    let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
    let empty = layout(0, 1 << 30);
    let memory = pages.allocate(empty).expect("nothing is needed");
    assert_eq!((memory.len(), memory.cast::<u8>().addr().get() % (1 << 30)), (0, 0));
    // SAFETY: it was allocated with this layout.
    unsafe { pages.deallocate(memory.cast(), empty) };
    let mut units = PageVec::new_in(pages);
    units.resize(1000, ());
    assert_eq!(allocator.conservation().allocated(), 0);
    // SAFETY: nothing, grown to something and shrunk to nothing.
    let memory = unsafe { pages.grow_zeroed(memory.cast(), empty, layout(10, 1 << 30)) };
    assert_eq!(memory, Err(AllocError), "there is no such alignment");
    let (empty, some) = (layout(0, 8), layout(10, 8));
    let memory = pages.allocate(empty).expect("nothing is needed").cast();
    // SAFETY: it was allocated with this layout.
    let memory = unsafe { pages.grow(memory, empty, some) }.expect("there is memory");
    assert_eq!((memory.len(), allocator.conservation().allocated()), (4096, 1));
    // SAFETY: as above.
    let memory = unsafe { pages.shrink(memory.cast(), some, empty) }.expect("nothing is needed");
    assert_eq!((memory.len(), allocator.conservation().allocated()), (0, 0));
}

#[test]
fn a_block_that_nothing_smaller_replaces_stays_where_it_is() {
    let allocator = small();
    let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
    let (large, little) = (layout(4 << 20, 1), layout(4096, 1));
    let memory = pages.allocate(large).expect("there is memory").cast::<u8>();
    let mut hogs = Vec::new();
    while let Ok(frame) = allocator.alloc_page(Gfp::KERNEL) {
        hogs.push(frame);
    }
    // SAFETY: the block is in use with this layout.
    let shrunk = unsafe { pages.shrink(memory, large, little) }.expect("it can always stay");
    assert_eq!((shrunk.cast(), shrunk.len()), (memory, 4 << 20));
    drop(hogs);
    // SAFETY: as above; it is as large as it was.
    let grown = unsafe { pages.grow(memory, little, large) }.expect("it is large enough");
    assert_eq!(grown, shrunk);
    // SAFETY: as above.
    unsafe { pages.deallocate(memory, large) };
    assert_all_free(&allocator);
}

#[test]
fn what_is_freed_twice_or_was_never_given_is_reported_and_changes_nothing() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reports);
    let allocator = Allocator::builder(64 << 20)
        .maintain(Maintain::ByHand)
        .on_misuse(std::boxed::Box::new(move |error| seen.lock().push(error.misuse)))
        .build()
        .expect("64 MiB");
    let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
    let some = layout(8192, 8);
    let memory = pages.allocate(some).expect("there is memory").cast::<u8>();
    // SAFETY: the rule that only blocks in use are freed is broken on purpose, from the second on.
    let free = |memory| unsafe { pages.deallocate(memory, some) };
    free(memory);
    free(memory);
    free(NonNull::from(&reports).cast());
    let shared = allocator.alloc_pages(Gfp::KERNEL, Order::new(1)).expect("there is memory").into_shared();
    free(shared.as_ptr());
    assert_eq!(*reports.lock(), [Misuse::DoubleFree, Misuse::OutOfRange, Misuse::Shared]);
    assert_eq!((shared.references(), allocator.bad_pages()), (1, 3));
}

/// A block in use, and what it holds.
struct Held {
    memory: NonNull<[u8]>,
    layout: Layout,
    content: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Allocate { size: usize, align: u32, zeroed: bool },
    Grow { which: prop::sample::Index, by: usize, align: u32, zeroed: bool },
    Shrink { which: prop::sample::Index, to: u16, align: u32 },
    Free(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    let size = || prop_oneof![8 => 0_usize..20_000, 1 => 20_000_usize..1_000_000];
    let align = || 0_u32..15;
    prop_oneof![
        3 => (size(), align(), any::<bool>()).prop_map(|(size, align, zeroed)| Step::Allocate { size, align, zeroed }),
        4 => (which(), size(), align(), any::<bool>())
            .prop_map(|(which, by, align, zeroed)| Step::Grow { which, by, align, zeroed }),
        4 => (which(), any::<u16>(), align()).prop_map(|(which, to, align)| Step::Shrink { which, to, align }),
        2 => which().prop_map(Step::Free),
    ]
}

impl Held {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the block is in use, and its memory came from mmap, so that all its bytes have a value.
        unsafe { self.memory.as_mut() }
    }

    /// Checks what the block holds, and that what is new is zero if that was asked for; writes something into all of it.
    fn renew(&mut self, random: &mut Random, zeroed: bool) {
        let size = self.layout.size();
        assert!(self.memory.len() >= size);
        assert_eq!(self.memory.cast::<u8>().addr().get() % self.layout.align(), 0);
        let content = std::mem::take(&mut self.content);
        let kept = content.len().min(size);
        let bytes = self.bytes();
        assert!(bytes[..kept] == content[..kept], "the content was kept");
        assert!(!zeroed || bytes[kept..].iter().all(|byte| *byte == 0), "what is new is zero");
        bytes.fill(0xee);
        let first = random.below(256);
        let content = (first..first + size).map(|value| value.to_le_bytes()[0]).collect();
        bytes[..size].copy_from_slice(&content as &Vec<u8>);
        self.content = content;
    }
}

proptest! {
    #[test]
    fn growing_and_shrinking_keep_the_content(steps in prop::collection::vec(step(), 1..120), seed: u64) {
        let allocator = small();
        let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
        let mut random = Random::new(seed);
        let mut held: Vec<Held> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate { size, align, zeroed } => {
                    let layout = layout(size, 1 << align);
                    let memory = if zeroed { pages.allocate_zeroed(layout) } else { pages.allocate(layout) };
                    let memory = memory.expect("there is memory");
                    held.push(Held { memory, layout, content: Vec::new() });
                    held.last_mut().expect("one").renew(&mut random, zeroed);
                }
                _ if held.is_empty() => {}
                Step::Grow { which, by, align, zeroed } => {
                    let at = which.index(held.len());
                    let one = &mut held[at];
                    let old = one.layout;
                    let new = layout(old.size() + by % 300_000, 1 << align);
                    if new.size() > 4 << 20 {
                        continue;
                    }
                    let (start, room) = (one.memory.cast::<u8>(), one.memory.len());
                    let grown = if zeroed {
                        // SAFETY: the block is in use with the old layout, and the new one is not smaller.
                        unsafe { pages.grow_zeroed(start, old, new) }
                    } else {
                        // SAFETY: as above.
                        unsafe { pages.grow(start, old, new) }
                    };
                    let grown = grown.expect("there is memory");
                    let in_place = new.size() <= room && start.addr().get().is_multiple_of(new.align());
                    prop_assert_eq!(grown.cast() == start && room > 0, in_place && room > 0);
                    (one.memory, one.layout) = (grown, new);
                    one.renew(&mut random, zeroed);
                }
                Step::Shrink { which, to, align } => {
                    let at = which.index(held.len());
                    let one = &mut held[at];
                    let old = one.layout;
                    let new = layout(old.size() * usize::from(to) / usize::from(u16::MAX), 1 << align);
                    // SAFETY: the block is in use with the old layout, and the new one is not larger.
                    let shrunk = unsafe { pages.shrink(one.memory.cast(), old, new) };
                    (one.memory, one.layout) = (shrunk.expect("there is memory"), new);
                    one.renew(&mut random, false);
                }
                Step::Free(which) => {
                    let mut one = held.swap_remove(which.index(held.len()));
                    one.renew(&mut random, false);
                    // SAFETY: the block is in use with this layout.
                    unsafe { pages.deallocate(one.memory.cast(), one.layout) };
                }
            }
            // Every block is out once, and nothing else is.
            let starts: BTreeSet<_> = held.iter().filter(|one| one.layout.size() > 0).map(|one| one.memory.cast::<u8>()).collect();
            let frames: usize = held.iter().map(|one| one.memory.len() / 4096).sum();
            prop_assert_eq!(starts.len(), held.iter().filter(|one| one.layout.size() > 0).count());
            prop_assert_eq!(allocator.conservation().allocated(), frames as u64);
        }
        for mut one in held {
            one.renew(&mut random, false);
            // SAFETY: the block is in use with this layout.
            unsafe { pages.deallocate(one.memory.cast(), one.layout) };
        }
        assert_all_free(&allocator);
    }
}
