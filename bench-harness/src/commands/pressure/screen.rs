//! A page of text that is drawn again and again in its place.

use anyhow::Result;
use console::Term;

/// Where a page is drawn.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Term,
    /// Lines of the page that is there now.
    drawn: usize,
}

impl Screen {
    /// Takes the standard output, if that is a terminal. Its cursor is hidden until the end.
    pub(super) fn open() -> Option<Self> {
        let terminal = Term::buffered_stdout();
        terminal.features().is_attended().then(|| {
            _ = terminal.hide_cursor();
            Self { terminal, drawn: 0 }
        })
    }

    /// Returns columns and lines that a page may have.
    pub(super) fn size(&self) -> (usize, usize) {
        let (lines, columns) = self.terminal.size();
        (columns.into(), usize::from(lines).saturating_sub(1))
    }

    /// Draws a page over the last one.
    ///
    /// # Errors
    /// The terminal does not take it.
    pub(super) fn draw(&mut self, page: &[String]) -> Result<()> {
        self.terminal.clear_last_lines(self.drawn)?;
        self.drawn = page.len();
        page.iter().try_for_each(|line| self.terminal.write_line(line))?;
        Ok(self.terminal.flush()?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        _ = self.terminal.show_cursor();
        _ = self.terminal.flush();
    }
}
