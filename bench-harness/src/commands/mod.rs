//! The commands of `gfp`.

pub mod bench;
pub mod replay;
pub mod stat;
pub mod topo;
