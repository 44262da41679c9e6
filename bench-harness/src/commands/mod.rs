//! The commands of `gfp`.

pub mod bench;
pub mod compare;
pub mod pressure;
pub mod replay;
pub mod report;
pub mod soak;
pub mod stat;
#[cfg(test)]
mod testing;
pub mod topo;
