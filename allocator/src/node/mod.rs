//! Nodes: which zones a request tries, and in which order.
//!
//! ```
//! use gfp::{MemPolicy, Nid, NodeMask, PolicyState, gfp::ZoneType};
//! use gfp::node::{Distances, NodeFrames, Reach, ZonePlan, Zonelists, node_orders, zone_spans};
//!
//! // Two nodes of 4 GiB each: the first has what lies below 4 GiB, the second all above.
//! let (near, far) = (Nid::new(0), Nid::new(1));
//! let both: NodeMask = [near, far].into_iter().collect();
//! let spans = zone_spans(&ZonePlan {
//!     nodes: [near, far].map(|node| NodeFrames { node, frames: 1 << 20 }).to_vec(),
//!     dma_frames: 4096,
//!     highmem_frames: 0,
//!     movable_frames: 0,
//!     online_frames: u64::MAX,
//! });
//! let spans = spans.expect("nothing is set aside");
//!
//! let distances = Distances::collect(2, |from, to| if from == to { 10 } else { 21 });
//! assert_eq!((distances.nodes(), distances.get(near, far)), (2, 21));
//! assert_eq!(node_orders(&distances, both, both), [[near, far], [far, near]]);
//!
//! let lists = Zonelists::build(&spans, distances, both);
//! assert_eq!((lists.nodes(), lists.with_memory()), (2, both));
//! let kinds = |reach| {
//!     let list = lists.node_zonelist(far, reach);
//!     list.zones(ZoneType::Normal, both).map(|zone| zone.kind).collect::<Vec<_>>()
//! };
//! assert_eq!(kinds(Reach::AllNodes), [ZoneType::Normal, ZoneType::Dma32, ZoneType::Dma]);
//! assert_eq!(kinds(Reach::ThisNode), [ZoneType::Normal]);
//!
//! // A policy picks the node whose list a request walks.
//! let mut policy = PolicyState::new(MemPolicy::Interleave(both), lists.with_memory())?;
//! let mut next = || policy.target(far, lists.with_memory(), lists.distances()).node;
//! assert_eq!([next(), next(), next()], [near, far, near]);
//! # Ok::<(), gfp::node::BadPolicy>(())
//! ```

#![deny(unsafe_code)]

mod cpuset;
mod dirty;
#[cfg(not(loom))]
mod in_force;
mod layout;
mod mask;
mod order;
mod policy;
mod zonelist;

pub use cpuset::{Cpuset, MemsAllowed};
pub use dirty::{DirtyLimit, NodeCounters, NodeStatError, NodeStatItem};
#[cfg(not(loom))]
pub(crate) use in_force::InForce;
pub use layout::{NodeFrames, ZonePlan, zone_spans};
pub use mask::NodeMask;
pub use order::{Distances, node_orders};
pub use policy::{BadPolicy, MemPolicy, PolicyState, Target};
#[cfg(not(loom))]
pub(crate) use zonelist::first_of_each_node;
pub use zonelist::{Reach, ZoneRef, Zonelist, Zonelists};
