//! The buddy against a second, plain statement of its rules.

mod coverage;
mod machine;
mod model;
mod pageblocks;
