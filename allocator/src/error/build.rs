//! An allocator that cannot be built.

use core::fmt;
use std::error::Error;

/// Why an allocator could not be built.
///
/// ```
/// use gfp::BuildError;
/// use std::io::{Error, ErrorKind};
///
/// let option = BuildError::option("max_order", "it must be 9 to 18");
/// assert_eq!(option.to_string(), "cannot build the allocator: max_order: it must be 9 to 18");
/// let platform = BuildError::platform("mapping the arena", Error::from(ErrorKind::OutOfMemory));
/// assert!(platform.to_string().starts_with("cannot build the allocator: mapping the arena: "));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// An option, or a combination of them, makes no sense.
    Option {
        /// The option, as the builder names it.
        name: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The system did not give what the options need.
    Platform {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: Box<dyn Error + Send + Sync + 'static>,
    },
}

impl BuildError {
    /// Returns an error about the builder's option `name`.
    pub fn option(name: &'static str, problem: impl Into<String>) -> Self {
        Self::Option { name, problem: problem.into() }
    }

    /// Returns an error about the system, met while `doing` something ("mapping the arena").
    pub fn platform(doing: &'static str, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        Self::Platform { doing, source: source.into() }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { name, problem } => write!(f, "cannot build the allocator: {name}: {problem}"),
            Self::Platform { doing, source } => write!(f, "cannot build the allocator: {doing}: {source}"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Option { .. } => None,
            Self::Platform { source, .. } => Some(source.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_message_names_the_option_or_the_step() {
        let option = BuildError::option("max_order", "19 is above 18, the largest order that is supported");
        assert_eq!(
            option.to_string(),
            "cannot build the allocator: max_order: 19 is above 18, the largest order that is supported"
        );
        let system = BuildError::platform("mapping the arena", io::Error::from(io::ErrorKind::OutOfMemory));
        assert!(system.to_string().starts_with("cannot build the allocator: mapping the arena: "));
        assert!(system.source().unwrap().is::<io::Error>());
    }
}
