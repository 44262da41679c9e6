//! Nodes: which zones a request tries, and in which order.

#![deny(unsafe_code)]

mod cpuset;
mod layout;
mod mask;
mod order;
mod policy;
mod zonelist;

pub use cpuset::Cpuset;
pub use layout::{NodeFrames, ZonePlan, zone_spans};
pub use mask::NodeMask;
pub use order::{Distances, node_orders};
pub use policy::{BadPolicy, MemPolicy, PolicyState, Target};
pub use zonelist::{Reach, ZoneRef, Zonelist, Zonelists};
