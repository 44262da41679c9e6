//! A free that must not happen.

use core::fmt;

use super::Trace;

/// What is wrong with a free.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The block is free already, or in a cache, or owned again: it was freed, or made of its raw parts, before.
    DoubleFree,
    /// The block was allocated with another order.
    WrongOrder,
    /// The frame is inside a block, not its first.
    Tail,
    /// The block belongs to another allocator.
    Foreign,
    /// Others hold references to the block.
    Shared,
    /// More references to the block were taken than can be counted: it is never freed.
    Saturated,
    /// A later owner of the block has taken it apart since these raw parts were taken.
    Stale,
    /// The frame is outside the arena.
    OutOfRange,
    /// The frame is not aligned to the order.
    Misaligned,
    /// The frame was never handed out: it is reserved, isolated or withheld.
    NotAllocated,
    /// The allocator is closed, and such a free can no longer be checked.
    Closed,
}

/// What the frame's descriptor tells about it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameStory {
    /// There is no descriptor, or it was not looked at.
    Unknown,
    /// Free, in the zone's free areas.
    Free,
    /// First frame of a block that somebody owns or a thread's cache holds.
    Allocated {
        /// The block's order.
        order: u8,
        /// How often the block was made of raw parts, modulo 256.
        generation: u8,
        /// How many hold it; `u32::MAX` when there were more than can be counted.
        references: u32,
    },
    /// Inside a block.
    Interior,
    /// Never handed out.
    Reserved,
    /// Taken out of circulation.
    Isolated,
}

impl fmt::Display for FrameStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("nothing is known of it"),
            Self::Free => f.write_str("it is free"),
            Self::Allocated { order, generation, references } => write!(
                f,
                "it heads a block of order {order} that is owned or cached, generation {generation}, references {references}"
            ),
            Self::Interior => f.write_str("it is inside a block"),
            Self::Reserved => f.write_str("it is reserved"),
            Self::Isolated => f.write_str("it is isolated"),
        }
    }
}

/// A free that was refused: which frame, how it was to be freed, and what its descriptor says.
///
/// The frame is left as it was found. A value of fixed size, made without allocating.
///
/// ```
/// use gfp::{FreeError, error::{FrameStory, Misuse}};
///
/// let error = FreeError::new(Misuse::DoubleFree, 17, 0, FrameStory::Free);
/// assert_eq!((error.misuse, error.pfn), (Misuse::DoubleFree, 17));
/// assert!(error.to_string().contains("it is free"));
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FreeError {
    /// What is wrong.
    pub misuse: Misuse,
    /// The frame's number.
    pub pfn: u32,
    /// The order that was given.
    pub order: u8,
    /// What the frame's descriptor said at that moment.
    pub story: FrameStory,
    /// Who freed last a block that began at the frame, where page owners are recorded.
    pub last_free: Option<Trace>,
}

impl FreeError {
    /// Returns an error for a free of the block of `order` at `pfn`.
    #[cold]
    #[must_use]
    pub const fn new(misuse: Misuse, pfn: u32, order: u8, story: FrameStory) -> Self {
        Self { misuse, pfn, order, story, last_free: None }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DoubleFree => "it was freed, or made a block again, before",
            Self::WrongOrder => "it was allocated with another order; free it with that order",
            Self::Tail => "it is not the first frame of a block; free the block by its first frame",
            Self::Foreign => "it belongs to another allocator; free it there",
            Self::Shared => "it is shared; drop the references instead",
            Self::Saturated => "it has more references than can be counted, and is never freed",
            Self::Stale => "a later owner has taken it apart since these raw parts were taken",
            Self::OutOfRange => "it is outside the arena",
            Self::Misaligned => "it is not aligned to that order",
            Self::NotAllocated => "it was never handed out",
            Self::Closed => "the allocator is closed",
        })
    }
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { misuse, pfn, order, story, last_free } = self;
        write!(f, "cannot free frame {pfn:#x} with order {order}: {misuse}")?;
        if *story != FrameStory::Unknown {
            write!(f, " (its descriptor: {story})")?;
        }
        last_free.map_or(Ok(()), |trace| write!(f, "; freed last by {trace}"))
    }
}

impl std::error::Error for FreeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_which_frame_what_is_wrong_and_what_was_found() {
        let story = FrameStory::Allocated { order: 3, generation: 5, references: 1 };
        let error = FreeError::new(Misuse::WrongOrder, 0x1200, 0, story);
        assert_eq!(
            error.to_string(),
            "cannot free frame 0x1200 with order 0: it was allocated with another order; free it with that order \
             (its descriptor: it heads a block of order 3 that is owned or cached, generation 5, references 1)"
        );
    }

    #[test]
    fn nothing_is_told_of_a_frame_without_descriptor() {
        let error = FreeError::new(Misuse::OutOfRange, 7, 2, FrameStory::Unknown);
        assert_eq!(error.to_string(), "cannot free frame 0x7 with order 2: it is outside the arena");
    }

    #[test]
    fn every_misuse_and_every_story_has_words_of_its_own() {
        let misuses = [
            (Misuse::DoubleFree, "it was freed, or made a block again, before"),
            (Misuse::Tail, "it is not the first frame of a block; free the block by its first frame"),
            (Misuse::Foreign, "it belongs to another allocator; free it there"),
            (Misuse::Shared, "it is shared; drop the references instead"),
            (Misuse::Saturated, "it has more references than can be counted, and is never freed"),
            (Misuse::Stale, "a later owner has taken it apart since these raw parts were taken"),
            (Misuse::Misaligned, "it is not aligned to that order"),
            (Misuse::NotAllocated, "it was never handed out"),
            (Misuse::Closed, "the allocator is closed"),
        ];
        let stories = [
            (FrameStory::Free, "it is free"),
            (FrameStory::Interior, "it is inside a block"),
            (FrameStory::Reserved, "it is reserved"),
            (FrameStory::Isolated, "it is isolated"),
        ];
        for (misuse, what) in misuses {
            for (story, found) in stories {
                let text = format!("cannot free frame 0x10 with order 4: {what} (its descriptor: {found})");
                assert_eq!(FreeError::new(misuse, 16, 4, story).to_string(), text);
            }
        }
        assert_eq!(FrameStory::Unknown.to_string(), "nothing is known of it");
    }
}
