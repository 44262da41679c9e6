//! What a command gives out: records in JSON lines, tables for people, and progress while they wait.

mod json_lines;
mod progress;
mod table;

pub use json_lines::JsonLines;
pub use progress::Progress;
pub use table::Table;
