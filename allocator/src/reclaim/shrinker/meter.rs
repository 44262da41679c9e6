//! What came back to an allocator during a scan.

use super::elsewhere::Elsewhere;
use crate::{
    alloc::{Domain, PastCache},
    zone::Zone,
};

/// Measures what the calling thread, and if need be others, give back to an allocator.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    domain: &'a Domain,
    past_cache: PastCache,
    /// Balance of the calling thread at the last look.
    here: i64,
    elsewhere: Option<Elsewhere>,
}

impl<'a> Meter<'a> {
    /// Begins to measure what the calling thread gives back; and, if that is to be expected, what others do.
    pub(super) fn start(domain: &'a Domain, watches_others: bool) -> Self {
        let past_cache = PastCache::count(domain.frames().allocator());
        let mut meter = Self { domain, past_cache, here: 0, elsewhere: None };
        meter.here = meter.balance_here();
        if watches_others {
            meter.watch_others();
        }
        meter
    }

    /// Returns the frames that came back since the last look, after somebody said that it had freed `claimed` objects.
    pub(super) fn read(&mut self, claimed: u64) -> Reading {
        let now = self.balance_here();
        let before = core::mem::replace(&mut self.here, now);
        let here = u64::try_from(now - before).unwrap_or(0);
        if here > 0 {
            self.elsewhere = None;
            return Reading { frames: here, place: Place::Here };
        }
        if claimed == 0 {
            return Reading { frames: 0, place: Place::Nowhere };
        }
        let frames = match self.elsewhere.take() {
            Some(last) => self.look_elsewhere(last).unwrap_or(0).min(claimed),
            None => {
                self.watch_others();
                0
            }
        };
        Reading { frames, place: Place::Elsewhere }
    }

    /// Returns what the calling thread freed so far, less what it took.
    fn balance_here(&self) -> i64 {
        let in_cache = self.with_own_cache(|(_, balance)| balance).unwrap_or(0);
        in_cache + self.past_cache.balance()
    }

    /// Calls `f` with the serial number and the balance of the calling thread's cache, if it has one.
    fn with_own_cache<R>(&self, f: impl FnOnce((u64, i64)) -> R) -> Option<R> {
        let owner = self.domain.own_cache()?;
        // A drainer holds it for a bounded time.
        let cache = owner.enter_behind_drainer().ok()?;
        Some(f((cache.serial(), cache.balance())))
    }

    /// Begins to watch the other threads.
    #[cold]
    fn watch_others(&mut self) {
        self.look_elsewhere(Elsewhere::new());
    }

    /// Looks what other threads gave back since the last look; `None`, and the next look is a first one, when the cache of one of them
    /// could not be looked into.
    #[cold]
    fn look_elsewhere(&mut self, mut last: Elsewhere) -> Option<u64> {
        let own = self.with_own_cache(|(serial, _)| serial);
        let mut look = last.look();
        let others = self.domain.caches().balances(|serial, balance| {
            if Some(serial) != own {
                look.cache(serial, balance);
            }
        });
        let past_caches: i64 = self.domain.zones().iter().map(Zone::balance_past_caches).sum();
        let gained = look.end(others.ended, past_caches - self.past_cache.balance());
        if others.skipped > 0 {
            return None;
        }
        self.elsewhere = Some(last);
        Some(gained)
    }
}

/// What a meter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Frames that came back.
    pub(super) frames: u64,
    /// Where.
    pub(super) place: Place,
}

/// Who gave frames back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The calling thread.
    Here,
    /// Others, if any.
    Elsewhere,
    /// Nobody, and nobody said so.
    Nowhere,
}
