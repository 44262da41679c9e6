//! Free memory that goes back to the system.

use std::time::Duration;

use gfp::sync::thread;

use super::{Machine, snapshot::Snapshot};

/// What a reporting machine waits for before free memory goes back, and a little more.
const DELAY: Duration = Duration::from_millis(2);

impl Machine {
    /// Gives free memory back: all free blocks of 2 MiB, and nothing else is changed by it.
    pub(super) fn trim(&mut self) {
        self.allocator.drain_all();
        let before = (self.allocator.buddyinfo(), self.allocator.free_page_reporting());
        let trimmed = self.allocator.trim();
        let after = (self.allocator.buddyinfo(), self.allocator.free_page_reporting());
        assert_eq!((trimmed.refused, &trimmed.refusal), (0, &None), "no other answer is known of the system");
        assert_eq!(after.1.given_back - before.1.given_back, trimmed.blocks);
        assert_eq!(after.1.known_zero - before.1.known_zero, trimmed.blocks);
        assert_eq!(after.0.to_string(), before.0.to_string());
        let (idle, aside) = self.model.idle_pageblocks();
        let known = after.1.known_zero + trimmed.locked;
        assert!(
            (idle..=idle + aside).contains(&known),
            "{known} of {idle} free pageblocks are known to be zero; {aside} are set aside"
        );
        let again = self.allocator.trim();
        assert_eq!((again.blocks, again.locked), (0, trimmed.locked));
        self.coverage.count("trim", if trimmed.blocks > 0 { "some" } else { "nothing" });
    }

    /// Checks that free memory went back when the allocator aged, as long as much is free, and none where nobody asked for it.
    pub(super) fn age_and_report(&mut self) {
        let before = self.allocator.free_page_reporting();
        self.age();
        let Some(delay) = before.delay else {
            assert_eq!(self.allocator.free_page_reporting().given_back, before.given_back);
            return;
        };
        // It was noticed then, at the latest.
        thread::sleep(delay + DELAY);
        self.age();
        let after = self.allocator.free_page_reporting();
        let given = after.given_back - before.given_back;
        assert_eq!(after.known_zero - before.known_zero, given);
        let snapshot = Snapshot::of(&self.allocator);
        for (zone, stat) in snapshot.zones().iter().enumerate() {
            let free = snapshot.free_pageblocks(zone);
            let much = stat.free > stat.marks.low + stat.marks.boost + (64 << 8);
            assert!(!much || after.known_zero >= free, "{free} pageblocks are free: {after:?}, {stat:?}");
        }
        self.coverage.count("reporting", if given > 0 { "some" } else { "nothing" });
    }
}
