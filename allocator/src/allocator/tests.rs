//! Allocators as a whole: random operations against the rules, and single rules one by one.

mod bulk;
mod coverage;
mod formats;
mod machine;
mod rig;
mod rules;
mod waiting;
