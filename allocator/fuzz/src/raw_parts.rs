//! Blocks as plain numbers: those that name a block once, and all others.

use std::sync::LazyLock;

use gfp::{
    Allocator, Gfp, Maintain, Order, Pages, Pfn, RawParts,
    error::{FreeError, Misuse},
};

use crate::input::Input;

const FRAMES: u32 = 2048;
/// Steps at most: fewer than a generation takes to come round.
const STEPS: usize = 900;

/// Somebody else, of whom parts may come as well.
static STRANGER: LazyLock<Allocator> = LazyLock::new(build);

fn build() -> Allocator {
    let bytes = FRAMES as usize * 4096;
    Allocator::builder(bytes).dma(0).cpus(1).maintain(Maintain::ByHand).build().expect("8 MiB")
}

/// Who has what.
struct Play {
    allocator: Allocator,
    owned: Vec<Pages>,
    /// Parts that name a block.
    apart: Vec<RawParts>,
    /// Parts that named one.
    used: Vec<RawParts>,
}

/// Checks a sequence of steps: a byte that says which, and what it needs.
pub fn check(bytes: &[u8]) {
    let mut play = Play { allocator: build(), owned: Vec::new(), apart: Vec::new(), used: Vec::new() };
    let mut input = Input::new(bytes);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        play.step(&mut input);
    }
    for parts in std::mem::take(&mut play.apart) {
        play.free(parts).expect("they name a block");
    }
    play.owned.clear();
    play.allocator.drain_all();
    let conservation = play.allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
    assert_eq!(play.allocator.bad_pages(), 0);
}

impl Play {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0 => {
                let order = Order::new(input.u8() % 11);
                self.owned.extend(self.allocator.alloc_pages(Gfp::KERNEL, order));
            }
            1 => {
                if let Some(pages) = take(&mut self.owned, input.u8()) {
                    self.apart.push(pages.into_raw_parts());
                }
            }
            2 => drop(take(&mut self.owned, input.u8())),
            3 => {
                if let Some(parts) = take(&mut self.apart, input.u8()) {
                    self.free(parts).expect("they name a block");
                    self.used.push(parts);
                }
            }
            4 => {
                if let Some(parts) = take(&mut self.apart, input.u8()) {
                    // SAFETY: these parts are of a block that was taken apart.
                    let pages = unsafe { self.allocator.from_raw_parts(parts) }.expect("they name a block");
                    assert_eq!((pages.pfn(), pages.order()), (parts.pfn, parts.order));
                    self.owned.push(pages);
                    self.used.push(parts);
                }
            }
            5 => _ = self.allocator.drain_all(),
            6 => {
                if let Some(&parts) = choose(&self.used, input.u8()) {
                    self.refused(parts);
                }
            }
            _ => {
                let known = if input.u8().is_multiple_of(2) { &self.apart } else { &self.used };
                let Some(&parts) = choose(known, input.u8()) else { return };
                self.refused(falsified(parts, input));
            }
        }
    }

    fn free(&self, parts: RawParts) -> Result<(), FreeError> {
        // SAFETY: parts of a block that was taken apart, or such as name none, which are refused: that is what is checked.
        unsafe { self.allocator.free_raw(parts) }
    }

    /// Tries parts that name no block, unless they happen to name one.
    fn refused(&self, parts: RawParts) {
        if self.apart.contains(&parts) {
            return;
        }
        let before = self.allocator.conservation().to_string();
        let error = self.free(parts).expect_err("they name no block");
        // SAFETY: as in `free`.
        let again = unsafe { self.allocator.from_raw_parts(parts) }.expect_err("they name no block");
        assert_eq!(error, again);
        assert_eq!(self.allocator.conservation().to_string(), before, "{error}");
        assert_eq!((error.pfn, error.order), (parts.pfn.get(), parts.order.get()));
        let foreign = parts.allocator != self.owner();
        assert_eq!(error.misuse == Misuse::Foreign, foreign, "{error}");
        if !foreign && parts.pfn.get() >= FRAMES {
            assert_eq!(error.misuse, Misuse::OutOfRange, "{error}");
        }
    }

    /// Returns this allocator's number, which parts of it have.
    fn owner(&self) -> gfp::AllocatorId {
        let known = self.used.first().or(self.apart.first());
        known.expect("parts were falsified, so there are some").allocator
    }
}

/// Changes one of the numbers, or all.
fn falsified(mut parts: RawParts, input: &mut Input<'_>) -> RawParts {
    let what = input.u8() % 5;
    if what == 0 || what == 4 {
        parts.pfn = Pfn::new(match input.u8() % 4 {
            0 => input.u32(),
            1 => parts.pfn.get() ^ 1 << (input.u8() % 32),
            _ => u32::from(input.u16()) % (FRAMES + 16),
        });
    }
    if what == 1 || what == 4 {
        parts.order = Order::new(input.u8() % 19);
    }
    if what == 2 || what == 4 {
        parts.generation = input.u16();
    }
    if what == 3 {
        let stranger = STRANGER.alloc_page(Gfp::KERNEL).expect("nobody else asks it").into_raw_parts();
        parts.allocator = stranger.allocator;
        // SAFETY: the parts are of a block that was taken apart.
        unsafe { STRANGER.free_raw(stranger) }.expect("they name a block");
    }
    parts
}

fn take<T>(from: &mut Vec<T>, at: u8) -> Option<T> {
    if from.is_empty() { None } else { Some(from.swap_remove(usize::from(at) % from.len())) }
}

fn choose<T>(from: &[T], at: u8) -> Option<&T> {
    from.get(usize::from(at).checked_rem(from.len())?)
}
