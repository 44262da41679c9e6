//! The buddy against a second, plain statement of its rules.

mod contents;
mod coverage;
mod in_use;
mod machine;
mod model;
mod pageblocks;
mod reference;
