//! When each row is visited: all in turn, and those of which much memory is alive not in each turn.

use std::time::Duration;

/// With more blocks alive the set-up takes longer than the samples do, and samples must be longer: since the one before, other allocators
/// have had the processor's caches, and some have given memory back.
const MUCH: usize = 1 << 14;

/// The visits to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// How often the rows that are visited most are visited.
    turns: usize,
    visits: usize,
    /// Of all visits together.
    samples: usize,
    /// How many times as long as others its samples are.
    longer: u32,
}

impl Schedule {
    /// Makes the schedule of a row in which each worker keeps so many blocks alive.
    pub(super) fn new(samples: usize, turns: usize, live_blocks: usize) -> Self {
        let turns = turns.min(samples);
        if live_blocks > MUCH {
            Self { turns, visits: turns.div_ceil(3), samples: samples.div_ceil(3), longer: 4 }
        } else {
            Self { turns, visits: turns, samples, longer: 1 }
        }
    }

    /// Returns how long a sample is where others are as long as this. None is made longer than a second.
    pub(super) fn sample_length(self, others: Duration) -> Duration {
        (self.longer * others).min(others.max(Duration::from_secs(1)))
    }

    /// Returns how many turns there are.
    pub(super) fn turns(self) -> usize {
        self.turns
    }

    /// Returns how many visits there are.
    pub(super) fn visits(self) -> usize {
        self.visits
    }

    /// Returns which visit is due in a turn, if one is. The last is in the last turn.
    pub(super) fn due(self, turn: usize) -> Option<usize> {
        let before = |turn| turn * self.visits / self.turns;
        (before(turn + 1) > before(turn)).then(|| before(turn))
    }

    /// Returns how many samples a visit takes of each allocator; the first takes the most.
    pub(super) fn samples(self, visit: usize) -> usize {
        (self.samples + self.visits - 1 - visit) / self.visits
    }

    /// Returns how many steps an allocator takes in a visit: its set-up, its samples, and what comes after them.
    pub(super) fn steps(self, visit: usize) -> usize {
        2 + self.samples(visit)
    }

    /// Tells whether a visit is the last.
    pub(super) fn is_last(self, visit: usize) -> bool {
        visit + 1 == self.visits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visit_is_due_once_in_its_order_and_the_last_in_the_last_turn() {
        for (samples, turns) in [(1, 1), (1, 18), (3, 18), (5, 2), (36, 18), (36, 100)] {
            for live_blocks in [1, MUCH, MUCH + 1] {
                let schedule = Schedule::new(samples, turns, live_blocks);
                let all = schedule.turns();
                let due: Vec<usize> = (0..all).filter_map(|turn| schedule.due(turn)).collect();
                assert!(due.iter().copied().eq(0..schedule.visits()), "{schedule:?}: {due:?}");
                assert!(schedule.due(all - 1).is_some_and(|visit| schedule.is_last(visit)));
                let all = if live_blocks > MUCH { samples.div_ceil(3) } else { samples };
                assert_eq!(due.iter().map(|&visit| schedule.samples(visit)).sum::<usize>(), all);
                assert!(due.iter().all(|&visit| schedule.samples(visit) <= schedule.samples(0)));
            }
        }
    }

    #[test]
    fn where_much_is_alive_a_third_of_the_visits_take_a_third_of_the_samples_which_are_longer() {
        let [little, much] = [MUCH, MUCH + 1].map(|live_blocks| Schedule::new(36, 12, live_blocks));
        let length = |schedule: Schedule| schedule.sample_length(Duration::from_millis(5)).as_millis();
        assert_eq!((little.visits(), little.samples(0), length(little)), (12, 3, 5));
        assert_eq!((much.visits(), much.samples(0), length(much)), (4, 3, 20));
        for (others, expected) in [(300, 1000), (1500, 1500)] {
            assert_eq!(much.sample_length(Duration::from_millis(others)), Duration::from_millis(expected));
        }
        let due: Vec<_> = (0..6).map(|turn| much.due(turn)).collect();
        assert_eq!(due, [None, None, Some(0), None, None, Some(1)]);
    }
}
