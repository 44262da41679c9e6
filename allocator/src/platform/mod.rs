//! What the library asks of the operating system, and nothing else does: memory, CPUs and their topology.
//!
//! Three rules hold here.
//! 1. Every system call goes through `sys`, one function a call, and each first asks [`fault`] whether a
//!    test wants it to fail. So every error path can be walked. Below, [`sync`](crate::sync) maps the memory of its tables and
//!    runs membarrier(2) itself, and asks too.
//! 2. A wish that the system may refuse without harm (huge pages, a name for the mapping, staying out of
//!    core dumps) never fails: the answer says what was obtained, and why not more. Where only certain pages will do, the
//!    caller [says so](Downgrade::Forbidden).
//! 3. Everything else fails with a [`PlatformError`] that says what was asked and what to do.
//!
//! | module | idea |
//! |---|---|
//! | [`arena`] | the one reservation that all frames lie in |
//! | [`hugetlb`] | pools of huge pages |
//! | [`topology`] | CPUs, cores, nodes and distances (hwloc, sysfs or a synthetic description) |
//! | [`pin`] | binding a thread to a CPU that the topology chose |
//! | [`error`] | the one error type |

pub mod arena;
pub mod error;
pub(crate) mod fork;
pub mod hugetlb;
mod pages;
pub mod pin;
mod sys;
#[cfg(test)]
mod test_process;
mod thread;
pub mod topology;

pub use crate::fault::{self, Errno};
pub use arena::{Arena, ArenaOptions, ArenaSource, Backing, Binding, Downgrade, DumpPolicy, Prefault};
pub use error::PlatformError;
pub use hugetlb::HugePagePool;
pub(crate) use thread::{comm, spawn, this_thread};
pub use topology::{CpuId, NodeId, Topology, TopologySource};

/// The size of a frame in bytes, and the only host page size that is accepted.
pub const PAGE_SIZE: usize = 4096;
