//! Progress while a command works: a bar on a terminal, nothing otherwise.

use std::{borrow::Cow, io::Read};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar or a spinner on the standard error output; quiet when that is not a terminal.
///
/// It has no clock of its own: it is drawn when it is told something, never while something is timed.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Makes a bar of `length` bytes to read.
    pub fn bytes(length: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self::with_template(ProgressBar::new(length), "{msg} {wide_bar} {bytes}/{total_bytes}", what)
    }

    /// Makes a spinner for work of unknown length.
    pub fn unknown(what: impl Into<Cow<'static, str>>) -> Self {
        Self::with_template(ProgressBar::new_spinner(), "{spinner} {msg} ({elapsed})", what)
    }

    fn with_template(bar: ProgressBar, template: &str, what: impl Into<Cow<'static, str>>) -> Self {
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(what);
        Self { bar }
    }

    /// Says what is being done now.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// Moves the bar with the bytes that are read from `source`.
    pub fn reading<R: Read>(&self, source: R) -> impl Read {
        self.bar.wrap_read(source)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
