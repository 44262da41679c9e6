//! What threads other than the calling one gave back.

/// How many caches are told apart; those of more threads are taken together.
const TOLD_APART: usize = 128;

/// A look at what all threads but one have freed and taken so far, to be compared with the next one.
///
/// A balance is what was freed less what was taken; only differences of balances mean something. Each cache is compared with
/// itself, so that a thread that takes does not hide one that gives back. Needs no memory but its own.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    /// Serial number and balance of each cache that is told apart.
    caches: [(u64, i64); TOLD_APART],
    told_apart: usize,
    /// The first cache that did not exist at the last look.
    first_new: u64,
    /// Balances of the other caches that existed, of ended threads, and past all caches.
    others: i64,
    ended: i64,
    past_caches: i64,
}

/// A look that is going on.
#[derive(Debug)]
pub(super) struct Look<'a> {
    last: &'a mut Elsewhere,
    next: Elsewhere,
    gained: u64,
    /// What had been given back by the caches that have not been seen yet and were told apart; and what is known of all others.
    gone: i64,
    others_gained: i64,
}

impl Elsewhere {
    /// Knows nothing: all that the first look sees looks as if it had just been given back.
    pub(super) const fn new() -> Self {
        Self {
            caches: [(0, 0); TOLD_APART],
            told_apart: 0,
            first_new: 0,
            others: 0,
            ended: 0,
            past_caches: 0,
        }
    }

    /// Begins to look again.
    pub(super) fn look(&mut self) -> Look<'_> {
        let gone = self.caches[..self.told_apart].iter().map(|&(_, balance)| balance).sum();
        let next = Self { first_new: self.first_new, ..Self::new() };
        Look { gone, others_gained: -self.others, gained: 0, next, last: self }
    }

    fn find(&self, serial: u64) -> Option<i64> {
        let known = &self.caches[..self.told_apart];
        known.iter().find(|(known, _)| *known == serial).map(|&(_, balance)| balance)
    }
}

impl Look<'_> {
    /// Takes in the balance of a cache.
    pub(super) fn cache(&mut self, serial: u64, balance: i64) {
        let before = self.last.find(serial);
        match before {
            Some(before) => {
                self.gone -= before;
                self.gained += gain(balance - before);
            }
            None if serial >= self.last.first_new => self.gained += gain(balance),
            None => self.others_gained += balance,
        }
        self.next.first_new = self.next.first_new.max(serial + 1);
        match self.next.caches.get_mut(self.next.told_apart) {
            Some(place) => {
                *place = (serial, balance);
                self.next.told_apart += 1;
            }
            None => self.next.others += balance,
        }
    }

    /// Ends the look with the balance of ended threads and the one past all caches; returns the frames that were given back since the
    /// last one.
    pub(super) fn end(self, ended: i64, past_caches: i64) -> u64 {
        let Self { last, next, gained, gone, others_gained } = self;
        // The caches that are gone were those of threads that have ended since.
        let together = ended - last.ended - gone + others_gained;
        let gained = gained + gain(together) + gain(past_caches - last.past_caches);
        *last = Elsewhere { ended, past_caches, ..next };
        gained
    }
}

/// Returns what was given back, nothing where more was taken.
fn gain(difference: i64) -> u64 {
    u64::try_from(difference).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(elsewhere: &mut Elsewhere, caches: &[(u64, i64)], ended: i64, past_caches: i64) -> u64 {
        let mut look = elsewhere.look();
        caches.iter().for_each(|&(serial, balance)| look.cache(serial, balance));
        look.end(ended, past_caches)
    }

    fn began(caches: &[(u64, i64)], ended: i64, past_caches: i64) -> Elsewhere {
        let mut elsewhere = Elsewhere::new();
        look(&mut elsewhere, caches, ended, past_caches);
        elsewhere
    }

    #[test]
    fn a_thread_that_takes_does_not_hide_one_that_gives() {
        let mut elsewhere = began(&[(0, -500), (1, -20)], 7, 9);
        assert_eq!(look(&mut elsewhere, &[(0, -900), (1, 44)], 7, 9), 64);
        assert_eq!(look(&mut elsewhere, &[(1, 44), (0, -901)], 7, 9), 0, "and only once");
    }

    #[test]
    fn frees_past_the_caches_count_less_what_is_taken_there() {
        let mut elsewhere = began(&[(0, 0)], 0, -1000);
        assert_eq!(look(&mut elsewhere, &[(0, 0)], 0, -488), 512);
        assert_eq!(look(&mut elsewhere, &[(0, 1)], 0, -500), 1);
    }

    #[test]
    fn a_thread_that_ends_counts_for_what_it_gave_since() {
        let mut elsewhere = began(&[(3, 0), (5, -100)], 40, 0);
        // It gave back 30 before it ended with a balance of -70.
        assert_eq!(look(&mut elsewhere, &[(3, 0)], -30, 0), 30);
        // One that comes and goes between two looks.
        assert_eq!(look(&mut elsewhere, &[(3, 0)], -10, 0), 20);
    }

    #[test]
    fn a_new_thread_counts_from_its_first_frame_on() {
        let mut elsewhere = began(&[(0, 0)], 0, 0);
        assert_eq!(look(&mut elsewhere, &[(0, 0), (1, 12), (2, -9)], 0, 0), 12);
        assert_eq!(look(&mut elsewhere, &[(0, 0), (1, 12), (2, -4)], 0, 0), 5);
    }

    #[test]
    fn more_threads_than_are_told_apart_are_taken_together() {
        let many = |balance: i64| (0..200).map(|serial| (serial, balance)).collect::<Vec<_>>();
        let mut elsewhere = began(&many(-10), 0, 0);
        assert_eq!(look(&mut elsewhere, &many(-9), 0, 0), 200);
        let mut some = many(-9);
        some[5].1 -= 1000;
        some[150].1 -= 1000;
        some[151].1 += 50;
        some[6].1 += 1;
        assert_eq!(look(&mut elsewhere, &some, 0, 0), 1, "of those taken together, one hides another");
        some.push((200, 33));
        assert_eq!(look(&mut elsewhere, &some, 0, 0), 33);
        assert_eq!(look(&mut elsewhere, &some, 0, 0), 0);
    }
}
