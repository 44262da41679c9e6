//! What a command says to the terminal: its results, and the error that it ends with.

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::{Error, Result};

/// Writes to the standard output.
///
/// # Errors
/// It cannot be written to; see [`is_broken_pipe`].
pub fn print(text: fmt::Arguments<'_>) -> Result<()> {
    Ok(io::stdout().lock().write_fmt(text)?)
}

/// Tells whether an error is that nobody reads any more what the command has to say, as with `| head`.
#[must_use]
pub fn is_broken_pipe(error: &Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::BrokenPipe)
}

/// Returns the text of an error with its causes, without those that it names already.
#[must_use]
pub fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use gfp::{Allocator, platform::NodeId};

    use super::*;

    #[test]
    fn every_cause_is_named_once() {
        let nodes = gfp::Spread::Nodes(vec![(NodeId(4000), 64 << 20)]);
        let refused = Allocator::builder(64 << 20).nodes(nodes).build().unwrap_err();
        let text = refused.to_string();
        assert_eq!(with_causes(&Error::new(refused).context("beginning")), format!("beginning: {text}"));
        let system = gfp::BuildError::platform("mapping the arena", io::Error::other("no luck"));
        assert_eq!(with_causes(&Error::new(system)).matches("no luck").count(), 1);
        let file = Err::<(), _>(io::Error::other("no luck")).context("cannot read it").unwrap_err();
        assert_eq!(with_causes(&file), "cannot read it: no luck");
    }

    #[test]
    fn a_broken_pipe_is_known_below_other_errors() {
        let error = |kind| Err::<(), _>(io::Error::from(kind)).context("cannot write it").unwrap_err();
        assert!(is_broken_pipe(&error(io::ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&error(io::ErrorKind::StorageFull)));
    }
}
