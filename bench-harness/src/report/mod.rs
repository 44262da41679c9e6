//! What a command gives out: records in JSON lines, tables for people, and progress while they wait.

mod json_lines;
mod output;
mod progress;
mod table;

pub use json_lines::JsonLines;
pub use output::{is_broken_pipe, print, with_causes};
pub use progress::Progress;
pub use table::Table;
