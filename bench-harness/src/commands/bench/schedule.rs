//! When each row is visited: all in turn, and those whose set-up is expensive not in each turn.

/// With more blocks alive the set-up takes longer than the samples do.
const MUCH: usize = 1 << 14;

/// The visits to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// How often the rows that are visited most are visited.
    turns: usize,
    visits: usize,
    /// Of all visits together.
    samples: usize,
}

impl Schedule {
    /// Makes the schedule of a row in which each worker keeps so many blocks alive.
    pub(super) fn new(samples: usize, turns: usize, live_blocks: usize) -> Self {
        let visits = if live_blocks > MUCH { turns.div_ceil(3) } else { turns };
        Self { turns: turns.min(samples), visits: visits.min(samples), samples }
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
                assert_eq!(due.iter().map(|&visit| schedule.samples(visit)).sum::<usize>(), samples);
                assert!(due.iter().all(|&visit| schedule.samples(visit) <= schedule.samples(0)));
            }
        }
    }

    #[test]
    fn what_is_expensive_to_set_up_is_visited_a_third_as_often_for_as_many_samples() {
        let [cheap, expensive] = [MUCH, MUCH + 1].map(|live_blocks| Schedule::new(36, 18, live_blocks));
        assert_eq!((cheap.visits(), cheap.samples(0)), (18, 2));
        assert_eq!((expensive.visits(), expensive.samples(0)), (6, 6));
        assert_eq!(
            (0..6).map(|turn| expensive.due(turn)).collect::<Vec<_>>(),
            [None, None, Some(0), None, None, Some(1)]
        );
    }
}
