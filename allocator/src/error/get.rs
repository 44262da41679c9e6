//! A reference that was not given.

use core::fmt;

use crate::sync::RefError;

/// One more reference to a shared block, which could not be had: which block, and why not.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct GetError {
    /// The number of the block's first frame.
    pub pfn: u32,
    /// The block's order.
    pub order: u8,
    /// Why not.
    pub reason: RefError,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pfn, order, reason } = self;
        write!(f, "cannot take another reference to the block of order {order} at frame {pfn:#x}: {reason}")
    }
}

impl std::error::Error for GetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_which_block_why_and_what_to_do() {
        let error = GetError { pfn: 0x1200, order: 3, reason: RefError::Saturated };
        assert_eq!(
            error.to_string(),
            "cannot take another reference to the block of order 3 at frame 0x1200: it has as many references as can \
             be counted; drop some first"
        );
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source, Some(RefError::Saturated.to_string()));
    }
}
