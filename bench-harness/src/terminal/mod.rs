//! What a command says to people: tables, and progress while they wait.

mod interrupt;
mod output;
mod progress;
mod table;

pub use interrupt::interrupts;
pub use output::{is_broken_pipe, print, with_causes};
pub use progress::Progress;
pub use table::Table;
