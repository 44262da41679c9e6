//! The commands of `gfp`.

pub mod bench;
