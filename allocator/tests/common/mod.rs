//! What several of these tests need: stamps in blocks, a map of what is out, and a look at the process.

#![expect(dead_code, reason = "no test uses all of it")]

pub(crate) mod snapshot;

use core::ptr::NonNull;
use std::{fs, io::Write};

use gfp::{
    Allocator, Order, Pages,
    sync::atomic::{AtomicU32, Ordering},
};

/// A small generator of random numbers (xorshift), the same from run to run.
pub(crate) struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("64 bits") % end
    }

    /// Returns one of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Returns the numbers of this process's threads, but for those that the kernel is ending already (`PF_EXITING`): who was joined is
/// listed for a moment longer.
///
/// # Panics
/// When /proc is not mounted.
pub(crate) fn live_threads() -> impl Iterator<Item = u32> {
    const PF_EXITING: u64 = 4;
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    tasks.filter_map(|task| {
        let task = task.ok()?;
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        // Behind the name, which may have anything in it: the state, five numbers, the flags.
        let flags: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse().ok()?;
        let number = task.file_name().to_str()?.parse().ok()?;
        (flags & PF_EXITING == 0).then_some(number)
    })
}

/// Returns the names and numbers of the [live](live_threads) threads whose names begin so.
pub(crate) fn threads_named(prefix: &str) -> Vec<(String, u32)> {
    let name = |number: u32| {
        let name = fs::read_to_string(format!("/proc/self/task/{number}/comm")).ok()?;
        Some((name.trim().to_owned(), number))
    };
    live_threads().filter_map(name).filter(|(name, _)| name.starts_with(prefix)).collect()
}

/// Which frames of an arena are out, and to whom; all threads write to it.
pub(crate) struct LiveMap(Vec<AtomicU32>);

impl LiveMap {
    /// Makes the map of an arena of which nothing is out.
    pub(crate) fn new(allocator: &Allocator) -> Self {
        let frames = usize::try_from(allocator.arena().frames()).expect("64 bits");
        Self((0..frames).map(|_| AtomicU32::new(0)).collect())
    }

    /// Notes that a block went to `whom`, who is not 0, and writes that into it.
    ///
    /// # Panics
    /// When somebody has a frame of it already.
    pub(crate) fn take(&self, pages: &mut Pages, whom: u32) {
        for frame in self.of(pages) {
            let before = frame.swap(whom, Ordering::Relaxed);
            assert_eq!(before, 0, "{pages:?} went to {whom}, but {before} has a frame of it");
        }
        for word in words(pages) {
            *word = whom;
        }
    }

    /// Notes that a block is about to be freed.
    ///
    /// # Panics
    /// When it is not `whom` who has it, or somebody wrote into it.
    pub(crate) fn give(&self, pages: &mut Pages, whom: u32) {
        for word in words(pages) {
            assert_eq!(*word, whom, "somebody wrote into a block of {whom}");
        }
        for frame in self.of(pages) {
            let before = frame.swap(0, Ordering::Relaxed);
            assert_eq!(before, whom, "{pages:?} of {whom} is noted as {before}'s");
        }
    }

    fn of(&self, pages: &Pages) -> &[AtomicU32] {
        &self.0[pages.pfn().index()..pages.pfn().add(pages.order().frames()).index()]
    }
}

/// Returns a word at the start of a block, and one at the start of its last frame if that is another.
fn words(pages: &mut Pages) -> impl Iterator<Item = &mut u32> {
    let step = (pages.order().frames() as usize - 1).max(1);
    let (frames, _) = pages.bytes_mut().as_chunks_mut::<4096>();
    frames.iter_mut().step_by(step).map(|frame| {
        let word = NonNull::from(frame).cast::<u32>();
        // SAFETY: a frame is aligned to more than a u32 and larger, nobody else refers to this one, and its memory came
        // from mmap, so that all its bytes have a value.
        unsafe { &mut *word.as_ptr() }
    })
}

/// Orders as programs ask for them: mostly small.
pub(crate) const ORDERS: [u8; 16] = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 4, 6, 8, 9, 10];

/// Returns a random order of [`ORDERS`].
pub(crate) fn order(random: &mut Random) -> Order {
    Order::new(random.pick(&ORDERS))
}

/// Checks that nothing is out and nothing is cached, and that every frame is accounted for.
///
/// # Panics
/// When it is not so.
pub(crate) fn assert_all_free(allocator: &Allocator) {
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds(), "{conservation}");
    assert_eq!((conservation.allocated(), conservation.cached()), (0, 0), "{conservation}");
    assert_eq!(conservation.free(), allocator.arena().frames());
    assert_eq!(allocator.bad_pages(), 0);
}

/// Tells whether an address of this process is mapped.
///
/// # Panics
/// When /proc is not mounted.
pub(crate) fn is_mapped(address: usize) -> bool {
    snapshot::mappings().iter().any(|(range, _)| range.contains(&address))
}

/// Runs `f` in a child and tells how it ended: by an exit status, or else by a signal, which is SIGALRM when it took so many
/// seconds.
pub(crate) fn in_child(seconds: u32, f: impl FnOnce()) -> Result<i32, i32> {
    // SAFETY: the child uses the allocator, which says that it may, and leaves without running what the parent's threads left.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: plain system calls.
        unsafe { libc::alarm(seconds) };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        if let Err(panic) = &ended {
            // What the harness captures ends with the child.
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let _ = writeln!(std::io::stderr(), "in the child: {}", text.unwrap_or("a panic"));
        }
        // SAFETY: as above.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(ended, child, "waitpid: {}", std::io::Error::last_os_error());
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) }
}
