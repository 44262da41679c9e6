//! Blocks for layouts.

use core::{alloc::Layout, ops::Range, ptr::NonNull};

use allocator_api2::alloc::Allocator as _;
use gfp::{Allocator, Gfp, PageAlloc};

use super::Machine;
use crate::call::Mask;

/// Bytes at the start and at the end of a block that are marked.
const MARKED: usize = 16;

/// Memory that is held by its address.
pub(super) struct Held {
    memory: NonNull<[u8]>,
    layout: Layout,
    stamp: u8,
}

// SAFETY: the memory is the holder's alone, wherever they are.
unsafe impl Send for Held {}

impl Held {
    /// Takes memory for a layout, and marks its ends.
    fn new(memory: NonNull<[u8]>, layout: Layout, stamp: u8) -> Self {
        let held = Self { memory, layout, stamp };
        for range in held.ends() {
            // SAFETY: these bytes are the holder's, and nobody else has a reference.
            unsafe { held.bytes(range).as_mut() }.fill(stamp);
        }
        held
    }

    /// The first bytes and the last ones of the layout.
    fn ends(&self) -> [Range<usize>; 2] {
        let size = self.layout.size();
        [0..size.min(MARKED), size.saturating_sub(MARKED)..size]
    }

    /// Returns bytes of the memory.
    fn bytes(&self, range: Range<usize>) -> NonNull<[u8]> {
        assert!(range.end <= self.memory.len());
        // SAFETY: the range lies in the memory.
        let start = unsafe { self.memory.cast::<u8>().add(range.start) };
        NonNull::slice_from_raw_parts(start, range.len())
    }

    fn check(&self) {
        for range in self.ends() {
            self.check_bytes(range, self.stamp);
        }
    }

    fn check_bytes(&self, range: Range<usize>, value: u8) {
        // SAFETY: the bytes are the holder's, and come from the system, so that each has a value.
        let bytes = unsafe { self.bytes(range).as_ref() };
        assert!(bytes.iter().all(|&byte| byte == value), "{:?} does not hold {value}", self.memory);
    }

    fn free(self, pages: &PageAlloc<Allocator>) {
        // SAFETY: the memory was given for this layout, and nobody uses it any more.
        unsafe { pages.deallocate(self.memory.cast(), self.layout) };
    }

    /// The frames of the block; none for a layout of no bytes.
    fn frames(&self, allocator: &Allocator) -> Range<usize> {
        if self.layout.size() == 0 {
            return 0..0;
        }
        let first = allocator.virt_to_pfn(self.memory.cast()).expect("it lies in the arena").index();
        first..first + self.memory.len() / 4096
    }
}

/// Returns the order of the block that a layout takes.
fn order_of(layout: Layout) -> u8 {
    let frames = layout.size().max(layout.align()).div_ceil(4096).next_power_of_two();
    u8::try_from(frames.ilog2()).expect("64 bits")
}

impl Machine {
    fn aligned(&self, layout: Layout) -> bool {
        self.allocator.arena().base().addr().get().is_multiple_of(layout.align())
    }

    /// Judges what came of a request for a layout of some bytes, and returns whether it was served.
    fn took_layout(
        &mut self,
        layout: Layout,
        gfp: Gfp,
        make: impl FnOnce(&Self) -> Option<NonNull<[u8]>>,
    ) -> Option<NonNull<[u8]>> {
        if !self.aligned(layout) {
            assert_eq!(make(self), None, "no block is aligned like that");
            self.coverage.count("layout", "not aligned");
            return None;
        }
        let order = order_of(layout);
        let request = self.request_by_policy(gfp, order);
        let memory = make(self);
        match memory {
            Some(memory) => {
                let bytes = 4096 << order;
                assert_eq!(memory.len(), bytes);
                assert!(memory.cast::<u8>().addr().get().is_multiple_of(layout.align()));
                let first = self.allocator.virt_to_pfn(memory.cast()).expect("it lies in the arena").index();
                self.check_served(&request, first..first + (1 << order));
                self.coverage.count("layout", "served");
            }
            None => {
                self.check_refused(&request, None);
                self.coverage.count("layout", "refused");
            }
        }
        memory
    }

    pub(super) fn layout(&mut self, Mask(gfp): Mask, bytes: usize, align: usize, zeroed: bool) {
        let layout = Layout::from_size_align(bytes, align).expect("small");
        let allocate = |machine: &Self| {
            let pages = PageAlloc::new(&machine.allocator, gfp);
            if zeroed { pages.allocate_zeroed(layout).ok() } else { pages.allocate(layout).ok() }
        };
        let memory = if bytes == 0 {
            self.coverage.count("layout", "empty");
            let memory = allocate(self).expect("nothing is to be had");
            assert_eq!((memory.len(), memory.cast::<u8>().addr().get() % layout.align()), (0, 0));
            memory
        } else {
            match self.took_layout(layout, gfp, allocate) {
                Some(memory) => memory,
                None => return,
            }
        };
        let stamp = self.stamp();
        let held = Held { memory, layout, stamp };
        if zeroed || gfp.contains(Gfp::ZERO) {
            held.check_bytes(0..memory.len(), 0);
        }
        self.layouts.push(Held::new(memory, layout, stamp));
    }

    pub(super) fn resize(
        &mut self,
        position: usize,
        Mask(gfp): Mask,
        bytes: usize,
        align: usize,
        zeroed: bool,
    ) {
        if self.layouts.is_empty() {
            return;
        }
        let old = self.layouts.swap_remove(position % self.layouts.len());
        old.check();
        let new = Layout::from_size_align(bytes, align).expect("small");
        let grows = new.size() >= old.layout.size();
        let pages = PageAlloc::new(self.allocator.clone(), gfp);
        let resize = |_: &Self| {
            let ptr = old.memory.cast::<u8>();
            let result = match (grows, zeroed) {
                // SAFETY: the memory was given for the old layout, which is not larger.
                (true, false) => unsafe { pages.grow(ptr, old.layout, new) },
                // SAFETY: as above.
                (true, true) => unsafe { pages.grow_zeroed(ptr, old.layout, new) },
                // SAFETY: the memory was given for the old layout, which is larger.
                (false, _) => unsafe { pages.shrink(ptr, old.layout, new) },
            };
            result.ok()
        };
        let is_block = old.layout.size() > 0;
        let fits = old.memory.cast::<u8>().addr().get().is_multiple_of(new.align());
        let room = old.memory.len();
        let stays = match grows {
            true => is_block && fits && new.size() <= room,
            false => fits && new.size() > 0 && 4096 << order_of(new) >= room,
        };
        let memory = if stays {
            self.coverage.count("resize", "in place");
            let memory = resize(self).expect("there is room");
            assert_eq!(memory, old.memory);
            memory
        } else if new.size() == 0 {
            self.coverage.count("resize", "to nothing");
            let memory = resize(self).expect("nothing is to be had");
            assert_eq!((memory.len(), memory.cast::<u8>().addr().get() % new.align()), (0, 0));
            self.model.give(old.frames(&self.allocator));
            memory
        } else {
            match self.moved(new, gfp, &old, !grows && fits, resize) {
                Some(memory) => memory,
                None => {
                    self.layouts.push(old);
                    return;
                }
            }
        };
        let stamp = self.stamp();
        let kept = old.layout.size().min(new.size());
        let held = Held { memory, layout: new, stamp };
        held.check_bytes(0..kept.min(MARKED), old.stamp);
        if grows && (zeroed || gfp.contains(Gfp::ZERO)) {
            held.check_bytes(kept..memory.len(), 0);
        }
        self.layouts.push(Held::new(memory, new, stamp));
    }

    /// Judges a change that takes another block; one that shrinks may stay where it is when there is none.
    fn moved(
        &mut self,
        new: Layout,
        gfp: Gfp,
        old: &Held,
        may_stay: bool,
        resize: impl FnOnce(&Self) -> Option<NonNull<[u8]>>,
    ) -> Option<NonNull<[u8]>> {
        let mut stayed = false;
        let memory = self.took_layout(new, gfp, |machine| {
            let memory = resize(machine);
            stayed = may_stay && memory == Some(old.memory);
            memory.filter(|_| !stayed)
        });
        let branch = match memory {
            Some(_) => {
                self.model.give(old.frames(&self.allocator));
                "moved"
            }
            None if stayed => "stayed",
            None => {
                assert!(!may_stay, "it could have stayed");
                "refused"
            }
        };
        self.coverage.count("resize", branch);
        if stayed { Some(old.memory) } else { memory }
    }

    pub(super) fn free_layout(&mut self, position: usize) {
        if self.layouts.is_empty() {
            return;
        }
        let held = self.layouts.swap_remove(position % self.layouts.len());
        held.check();
        self.model.give(held.frames(&self.allocator));
        let pages = PageAlloc::new(self.allocator.clone(), Gfp::KERNEL);
        let free = move || held.free(&pages);
        // Half of them elsewhere.
        if position.is_multiple_of(2) { free() } else { self.worker.run(move |_| free()) }
    }
}
