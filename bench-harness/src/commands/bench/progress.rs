//! Progress while allocators are measured: a bar on a terminal, elsewhere a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long nothing is said where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Who is told how far the work is. Nothing is told but between steps, when nothing is timed.
pub(super) trait Watch {
    /// Says what is done now.
    fn say(&mut self, what: String);

    /// Counts a step.
    fn step(&mut self);
}

/// Steps that are done of those that there are.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// When a line was last printed; none on a terminal.
    said: Option<Instant>,
    began: Instant,
    steps: u64,
    done: u64,
    what: String,
}

impl Progress {
    /// Begins work of so many steps.
    pub(super) fn begin(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {elapsed} of {duration}  {msg}");
        let steps = steps as u64;
        let bar = ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let began = Instant::now();
        let said = (!std::io::stderr().is_terminal()).then_some(began);
        Self { bar, said, began, steps, done: 0, what: String::new() }
    }

    /// Does something to the terminal while the bar is out of the way.
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    /// Ends it, and wipes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Progress {
    fn say(&mut self, what: String) {
        self.bar.set_message(what.clone());
        self.what = what;
    }

    fn step(&mut self) {
        self.bar.inc(1);
        self.done += 1;
        if self.said.is_some_and(|said| said.elapsed() >= QUIET) {
            self.said = Some(Instant::now());
            eprintln!("{}  {}", left(self.began.elapsed(), self.done, self.steps), self.what);
        }
    }
}

/// Says how long the rest takes, when a step takes as long as those that were done.
fn left(elapsed: Duration, done: u64, steps: u64) -> String {
    let seconds = elapsed.as_secs();
    let left = u128::from(steps.saturating_sub(done)) * elapsed.as_millis() / u128::from(done.max(1)) / 1000;
    format!("{} s, about {left} s left", seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_a_step_as_what_was_done() {
        assert_eq!(left(Duration::from_secs(30), 10, 40), "30 s, about 90 s left");
        assert_eq!(left(Duration::from_millis(500), 40, 40), "0 s, about 0 s left");
        assert_eq!(left(Duration::from_secs(1), 0, 2), "1 s, about 2 s left");
    }
}
