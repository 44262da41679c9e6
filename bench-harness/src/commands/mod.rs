//! The commands of `gfp`.

pub mod bench;
pub mod replay;
pub mod topo;
