//! A range of frames that something cannot be done to.

use core::{fmt, ops::Range};

use crate::frame::Pfn;

/// Why something cannot be done to a range of frames.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RangeProblem {
    /// It is empty, or its ends are the wrong way round.
    Empty,
    /// It reaches beyond the arena.
    OutOfRange,
    /// It does not consist of whole pageblocks of 512 frames of each zone.
    Misaligned,
    /// It reaches from one zone into another.
    SeveralZones,
    /// So many of its frames are in use, in a thread's cache, or on their way.
    InUse(u64),
    /// This frame is the first of it that is in use, in a thread's cache, or on its way.
    FrameInUse(Pfn),
    /// It is kept for contiguous requests from this frame on.
    Cma(Pfn),
    /// It is isolated already from this frame on.
    Isolated(Pfn),
    /// It is offline from this frame on.
    Offline(Pfn),
    /// It is not offline from this frame on.
    Online(Pfn),
    /// The allocator is closed.
    Closed,
}

/// What was asked of a range of frames, and why it cannot be done. Nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeError {
    /// The frames.
    pub range: Range<Pfn>,
    /// Why not.
    pub problem: RangeProblem,
}

impl fmt::Display for RangeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no frame in it"),
            Self::OutOfRange => f.write_str("it reaches beyond the arena"),
            Self::Misaligned => f.write_str("it must consist of whole pageblocks of 512 frames of each zone"),
            Self::SeveralZones => f.write_str("it must lie in one zone"),
            Self::InUse(frames) => {
                write!(
                    f,
                    "{frames} of its frames are in use; free them, or try again when other threads have"
                )
            }
            Self::FrameInUse(pfn) => write!(f, "{pfn} is in use; free it, or take another range"),
            Self::Cma(pfn) => write!(f, "{pfn} begins an area that is kept for contiguous requests"),
            Self::Isolated(pfn) => write!(f, "{pfn} is isolated already; undo that first"),
            Self::Offline(pfn) => write!(f, "{pfn} is offline; bring it online first"),
            Self::Online(pfn) => write!(f, "{pfn} is online already"),
            Self::Closed => f.write_str("the allocator is closed"),
        }
    }
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        write!(f, "frames {:#x} to {:#x}: {}", start.get(), end.get(), self.problem)
    }
}

impl std::error::Error for RangeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_frames_and_what_to_do() {
        let range = Pfn::new(0x200)..Pfn::new(0x600);
        let error = RangeError { range, problem: RangeProblem::InUse(3) };
        assert_eq!(
            error.to_string(),
            "frames 0x200 to 0x600: 3 of its frames are in use; free them, or try again when other threads have"
        );
    }

    #[test]
    fn every_problem_says_what_must_be_otherwise() {
        let at = Pfn::new(0x400);
        let table = [
            (RangeProblem::Empty, "there is no frame in it".to_owned()),
            (RangeProblem::OutOfRange, "it reaches beyond the arena".to_owned()),
            (
                RangeProblem::Misaligned,
                "it must consist of whole pageblocks of 512 frames of each zone".to_owned(),
            ),
            (RangeProblem::SeveralZones, "it must lie in one zone".to_owned()),
            (RangeProblem::FrameInUse(at), format!("{at} is in use; free it, or take another range")),
            (RangeProblem::Cma(at), format!("{at} begins an area that is kept for contiguous requests")),
            (RangeProblem::Isolated(at), format!("{at} is isolated already; undo that first")),
            (RangeProblem::Offline(at), format!("{at} is offline; bring it online first")),
            (RangeProblem::Online(at), format!("{at} is online already")),
            (RangeProblem::Closed, "the allocator is closed".to_owned()),
        ];
        for (problem, text) in table {
            let error = RangeError { range: Pfn::new(0x200)..Pfn::new(0x600), problem };
            assert_eq!(error.to_string(), format!("frames 0x200 to 0x600: {text}"));
        }
    }
}
