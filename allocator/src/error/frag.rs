//! A fragment of a page that was not given.

use core::fmt;

use super::AllocError;

/// Why a [`PageFragCache`](crate::PageFragCache) gave no fragment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FragError {
    /// A fragment of no bytes was asked for.
    Empty,
    /// More bytes were asked for than the largest page has.
    TooLarge {
        /// The bytes that were asked for.
        bytes: usize,
        /// The largest fragment, in bytes.
        most: usize,
    },
    /// An alignment was asked for that not every page has.
    TooAligned {
        /// The alignment that was asked for, in bytes.
        align: usize,
        /// The largest alignment, in bytes.
        most: usize,
    },
    /// There was no memory for another page.
    NoMemory(AllocError),
}

impl fmt::Display for FragError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("cannot give a fragment of 0 bytes; ask for at least 1"),
            Self::TooLarge { bytes, most } => {
                write!(
                    f,
                    "cannot give a fragment of {bytes} bytes: {most} is the most; allocate pages for it"
                )
            }
            Self::TooAligned { align, most } => {
                write!(
                    f,
                    "cannot align a fragment to {align} bytes: {most} is the most; allocate pages for it"
                )
            }
            Self::NoMemory(error) => write!(f, "no page for fragments: {error}"),
        }
    }
}

impl std::error::Error for FragError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoMemory(error) => Some(error),
            _ => None,
        }
    }
}

impl From<AllocError> for FragError {
    fn from(error: AllocError) -> Self {
        Self::NoMemory(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::FailReason, gfp::Gfp};

    #[test]
    fn the_messages_say_what_was_asked_and_what_to_do() {
        let text = |error: FragError| error.to_string();
        assert_eq!(text(FragError::Empty), "cannot give a fragment of 0 bytes; ask for at least 1");
        assert_eq!(
            text(FragError::TooLarge { bytes: 40_000, most: 32_768 }),
            "cannot give a fragment of 40000 bytes: 32768 is the most; allocate pages for it"
        );
        assert_eq!(
            text(FragError::TooAligned { align: 8192, most: 4096 }),
            "cannot align a fragment to 8192 bytes: 4096 is the most; allocate pages for it"
        );
        let inner = AllocError::new(Gfp::KERNEL, 0, FailReason::Closed);
        assert_eq!(text(inner.into()), format!("no page for fragments: {inner}"));
    }

    #[test]
    fn the_source_is_why_there_was_no_page() {
        let inner = AllocError::new(Gfp::KERNEL, 0, FailReason::NoMemory);
        let source = |error: &FragError| std::error::Error::source(error).map(ToString::to_string);
        assert_eq!(source(&inner.into()), Some(inner.to_string()));
        assert_eq!(source(&FragError::Empty), None);
    }
}
