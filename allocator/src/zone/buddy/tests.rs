//! The buddy against a second, plain statement of its rules.

mod contents;
mod coverage;
mod machine;
mod model;
mod pageblocks;
mod reference;
