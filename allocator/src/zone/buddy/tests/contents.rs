//! Which pageblocks somebody had a part of since they were zero, kept beside the buddy.

use std::collections::BTreeSet;

use super::model::Model;
use crate::{
    frame::Pfn,
    zone::buddy::{Buddy, Content},
};

/// The numbers of those pageblocks.
#[derive(Default)]
pub(super) struct Touched(BTreeSet<u32>);

impl Touched {
    /// Notes that somebody has frames, and tells what they held before.
    pub(super) fn take(&mut self, start: u32, end: u32) -> Content {
        let mut content = Content::Zero;
        for block in start / 512..end.div_ceil(512) {
            if !self.0.insert(block) {
                content = Content::Unknown;
            }
        }
        content
    }

    /// Compares what a buddy knows of whole pageblocks, and has those zeroed that are free and in circulation.
    pub(super) fn compare_and_report(&mut self, buddy: &mut Buddy, model: &Model) {
        let whole = model.start.next_multiple_of(512)..model.end / 512 * 512;
        for pfn in whole.clone().step_by(512) {
            let known = buddy.content(Pfn::new(pfn));
            assert_eq!(known == Content::Unknown, self.0.contains(&(pfn / 512)), "pageblock at {pfn:#x}");
        }
        let mut rest = Pfn::new(whole.start)..Pfn::new(whole.end);
        while let Some(at) = buddy.next_unreported(&rest) {
            assert!(self.0.remove(&(at.get() / 512)), "{at} was zero");
            assert!(buddy.carve(at), "{at} is not free");
            assert_eq!(buddy.next_unreported(&(at..at.add(512))), None, "{at} is out");
            buddy.note_zeroed(at, at.add(512));
            buddy.put_back(at);
            rest.start = at.add(512);
        }
        let is_free = |pfn| model.block_use(pfn).0 == 512 && model.aside_of(pfn) == (false, false);
        let left = whole.step_by(512).find(|&pfn| self.0.contains(&(pfn / 512)) && is_free(pfn));
        assert_eq!(left, None, "it is free");
    }
}
