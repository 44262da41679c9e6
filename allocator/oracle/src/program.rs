//! A program as text: a line that names the machine, and one for each call.

use core::{fmt, str::FromStr};

use crate::{Call, Coverage, Shape, run};

/// A machine, and calls for it.
///
/// In text, the first line is `on` and the name of the machine; each other line is a call. Empty lines, and what is behind a `#`,
/// are left out.
#[derive(Clone, Debug)]
pub struct Program {
    /// The machine.
    pub shape: Shape,
    /// The calls.
    pub calls: Vec<Call>,
}

impl Program {
    /// [Runs](run) it.
    ///
    /// # Panics
    /// At the first answer that the model does not allow.
    #[must_use]
    pub fn run(&self) -> Coverage {
        run(self.shape, &self.calls)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on {}", self.shape.name)?;
        self.calls.iter().try_for_each(|call| writeln!(f, "{call}"))
    }
}

/// A line that is no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseProgramError {
    /// Its number, from 1 on; 0 when there is no line.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for ParseProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ParseProgramError {}

impl FromStr for Program {
    type Err = ParseProgramError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = |line: &'_ str| line.split('#').next().unwrap_or_default().trim().to_owned();
        let mut lines = (1..).zip(text.lines().map(bare)).filter(|(_, line)| !line.is_empty());
        let wrong = |line, problem: String| ParseProgramError { line, problem };
        let no_machine = || wrong(0, "a program begins with the name of a machine".to_owned());
        let (number, first) = lines.next().ok_or_else(no_machine)?;
        let shape = first.strip_prefix("on ").and_then(|name| Shape::named(name.trim()));
        let shape = shape.ok_or_else(|| wrong(number, format!("{first:?} does not name a machine")))?;
        let call = |(number, line): (usize, String)| {
            line.parse().map_err(|error| wrong(number, format!("{line:?} is not a call: {error}")))
        };
        Ok(Self { shape, calls: lines.map(call).collect::<Result<_, _>>()? })
    }
}
