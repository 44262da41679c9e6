//! What a debug mode has found.

use core::fmt;

use super::Trace;
use crate::platform::PlatformError;

/// What is wrong with a block, or with the guard around it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Somebody wrote to the block after it was freed. It is left out of circulation.
    WrittenAfterFree {
        /// The first frame of the block that was written to.
        frame: u32,
        /// Offset in that frame of the first byte that is not the pattern, 0 to 4095.
        offset: u16,
        /// Bytes from there to the last one of that frame that is not the pattern.
        len: u16,
        /// The 16 bytes around the first one, from `offset` rounded down to a multiple of 16.
        found: [u8; 16],
    },
    /// The block was about to be handed out although somebody has it. It stays with them, and the request gets another.
    InUse {
        /// The order of the block that is in use.
        order: u8,
    },
    /// The system did not close the block's memory when it was freed, or not open it alone when it was allocated: the guard was
    /// lifted from all free memory, which gives the mappings back. What is freed from now on is guarded again.
    GuardLifted(PlatformError),
    /// The system did not open the block's memory even with all that is free; the request fails.
    NotOpened(PlatformError),
}

/// What a debug mode has found, and in which block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The block's first frame.
    pub pfn: u32,
    /// The block's order.
    pub order: u8,
    /// What is wrong.
    pub flaw: Flaw,
    /// Who freed last a block that began at that frame, where page owners are recorded.
    pub last_free: Option<Trace>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrittenAfterFree { frame, offset, len, found } => {
                write!(
                    f,
                    "frame {frame:#x} was written to after it was freed, {len} bytes from offset {offset:#x}; at {:#x}:",
                    offset & !15
                )?;
                found.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
                f.write_str("; the block is left out of circulation")
            }
            Self::InUse { order } => {
                write!(f, "it was about to be handed out, but heads a block of order {order} that is in use")
            }
            Self::GuardLifted(error) => write!(f, "the guard was lifted from all free memory: {error}"),
            Self::NotOpened(error) => write!(f, "its memory stays closed, and the request fails: {error}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block of order {} at frame {:#x}: {}", self.order, self.pfn, self.flaw)?;
        self.last_free.map_or(Ok(()), |trace| write!(f, "; freed last by {trace}"))
    }
}

impl std::error::Error for Finding {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.flaw {
            Flaw::GuardLifted(error) | Flaw::NotOpened(error) => Some(error),
            Flaw::WrittenAfterFree { .. } | Flaw::InUse { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_which_block_and_what_was_found() {
        let mut found = [0xaa; 16];
        found[3] = 0x42;
        let flaw = Flaw::WrittenAfterFree { frame: 0x1203, offset: 0x7f3, len: 1, found };
        let finding = Finding { pfn: 0x1200, order: 2, flaw, last_free: None };
        assert_eq!(
            finding.to_string(),
            "block of order 2 at frame 0x1200: frame 0x1203 was written to after it was freed, 1 bytes from \
             offset 0x7f3; at 0x7f0: aa aa aa 42 aa aa aa aa aa aa aa aa aa aa aa aa; the block is left out of \
             circulation"
        );
    }

    #[test]
    fn a_finding_about_a_call_of_the_system_has_its_error_as_source() {
        let refused = || PlatformError::HostPageSize { bytes: 1 << 16 };
        let finding = |flaw| Finding { pfn: 8, order: 0, flaw, last_free: None };
        for (flaw, begins) in [
            (Flaw::GuardLifted(refused()), "the guard was lifted from all free memory: "),
            (Flaw::NotOpened(refused()), "its memory stays closed, and the request fails: "),
        ] {
            let text = format!("block of order 0 at frame 0x8: {begins}{}", refused());
            assert_eq!(finding(flaw.clone()).to_string(), text);
            let source = std::error::Error::source(&finding(flaw)).map(ToString::to_string);
            assert_eq!(source, Some(refused().to_string()));
        }
        let in_use = finding(Flaw::InUse { order: 3 });
        let text = "block of order 0 at frame 0x8: it was about to be handed out, but heads a block of order 3 that \
                    is in use";
        assert_eq!(in_use.to_string(), text);
        assert!(std::error::Error::source(&in_use).is_none());
    }
}
