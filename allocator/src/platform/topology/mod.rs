//! The machine as the allocator sees it: CPUs, cores, packages, NUMA nodes and the distances between them.
//!
//! A [`Topology`] is plain data, read once from hwloc (feature `hwloc`), from sysfs, or from a synthetic
//! description. It lists only what this process may use: CPUs in the affinity of at least one of its
//! threads (which never exceeds the cgroup's cpuset), and nodes that the cgroup allows. Nodes may have no
//! CPUs, and CPUs no node.
//!
//! hwloc's variables work: `HWLOC_SYNTHETIC="pack:2 [numa] core:4 pu:2"` and `HWLOC_XMLFILE=machine.xml`
//! replace the machine by another one, which is then reported as simulated, unless `HWLOC_THISSYSTEM=1`
//! asserts that the file describes this machine.

mod bounds;
mod cpu_list;
mod display;
#[cfg(feature = "hwloc")]
mod hwloc;
mod parts;
mod process;
#[cfg(any(test, not(feature = "hwloc")))]
mod synthetic;
mod sysfs;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

pub use self::process::Allowed;
use super::error::PlatformError;

/// The distance of a node to itself where nobody says otherwise (`LOCAL_DISTANCE`, as in ACPI's SLIT).
pub const LOCAL_DISTANCE: u32 = 10;

/// The distance between two nodes where nobody says otherwise (`REMOTE_DISTANCE`).
pub const REMOTE_DISTANCE: u32 = 20;

/// A CPU (hwloc's PU, a hardware thread) by the number that the operating system gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u32);

/// A node by its rank among the nodes of its topology, from 0 without gaps; the operating system's number is
/// [`NodeInfo::os_index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who described the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologySource {
    /// hwloc, from this machine or from a file.
    Hwloc,
    /// The kernel's files under /sys and /proc.
    Sysfs,
    /// A synthetic description.
    Synthetic,
}

/// A data cache as seen from one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its size in bytes.
    pub bytes: u64,
    /// How many CPUs share it, at least 1; allowed ones and others.
    pub sharers: u32,
}

/// A CPU that this process may run on.
///
/// ```
/// use gfp::platform::Topology;
///
/// // 16 MiB for four CPUs.
/// let machine = Topology::synthetic("node:1 l3:1 core:2 pu:2")?;
/// assert_eq!(machine.cpus()[0].cache_slice_bytes(), Some(4 << 20));
/// # Ok::<(), gfp::platform::PlatformError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// The operating system's number.
    pub os_index: CpuId,
    /// The core, numbered from 0 over the whole machine; SMT siblings have the same.
    pub core: u32,
    /// The package (socket), numbered from 0.
    pub package: u32,
    /// The node whose memory is local, if this process may use it.
    pub node: Option<NodeId>,
    /// The second-level cache, if known.
    pub l2: Option<Cache>,
    /// The third-level cache, if there is one.
    pub l3: Option<Cache>,
}

impl Cpu {
    /// Returns this CPU's share of its last-level cache in bytes, if known: size over sharers, as the
    /// kernel's `per_cpu_data_slice_size` (6.7), by which page caches choose how much to keep.
    #[must_use]
    pub fn cache_slice_bytes(&self) -> Option<u64> {
        self.l3.or(self.l2).map(|cache| cache.bytes / u64::from(cache.sharers.max(1)))
    }
}

/// A page size that a node offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// The size of one page in bytes.
    pub bytes: u64,
    /// How many pages: all of the memory for the smallest size, the reserved pool for larger ones.
    pub count: u64,
}

/// A NUMA node that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The operating system's number, as system calls want it.
    pub os_index: u32,
    /// All of its memory in bytes, whoever uses it: not a budget. 0 for a node of CPUs only.
    pub memory_bytes: u64,
    /// The allowed CPUs for which it is local, ascending; none for a node of memory only.
    pub cpus: Vec<CpuId>,
    /// The page sizes, ascending.
    pub page_sizes: Vec<PageSize>,
}

/// The CPUs and nodes that this process may use; always at least one of each.
///
/// ```
/// use gfp::platform::{CpuId, NodeId, Topology};
///
/// let this = Topology::load()?;
/// assert!(!this.cpus().is_empty() && !this.nodes().is_empty());
/// println!("{}: {}", this.source(), this.downgrade().unwrap_or("all that was hoped for"));
///
/// // Two sockets of two cores with two threads each, to try things out.
/// let made_up = Topology::synthetic("pack:2 node:1 core:2 pu:2")?;
/// assert!(made_up.is_simulated());
/// assert_eq!((made_up.cpus().len(), made_up.nodes().len()), (8, 2));
/// assert_eq!(made_up.node_of(CpuId(5)), Some(NodeId(1)));
/// assert_eq!(made_up.cpu(CpuId(5)).map(|cpu| (cpu.core, cpu.package)), Some((2, 1)));
/// assert!(made_up.node(NodeId(1)).is_some_and(|node| node.cpus.contains(&CpuId(5))));
/// assert!(made_up.distance(NodeId(0), NodeId(0)) <= made_up.distance(NodeId(0), NodeId(1)));
/// // A thread to each core before the second ones.
/// assert_eq!(made_up.pin_order(), [0, 2, 4, 6, 1, 3, 5, 7].map(CpuId));
/// # Ok::<(), gfp::platform::PlatformError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    source: TopologySource,
    simulated: bool,
    downgrade: Option<String>,
    cpus: Vec<Cpu>,
    nodes: Vec<NodeInfo>,
    /// Row by row, a row and a column for each node.
    distances: Vec<u32>,
    /// By the operating system's CPU number.
    node_by_cpu: Vec<Option<NodeId>>,
}

impl Topology {
    /// Reads the topology of this machine, through hwloc where that is compiled in and works, else from sysfs.
    ///
    /// # Errors
    ///
    /// Neither source can be read, no CPU or node is allowed, or a variable of hwloc asks for another machine
    /// whose description hwloc cannot use: this machine is never taken in its place.
    pub fn load() -> Result<Self, PlatformError> {
        let allowed = Allowed::of_this_process()?;
        #[cfg(feature = "hwloc")]
        let topology = hwloc::load(&allowed).or_else(|error| Self::without_hwloc(error, &allowed));
        #[cfg(not(feature = "hwloc"))]
        let topology = Self::from_sysfs(Path::new("/"), &allowed);
        topology
    }

    /// Reads sysfs because hwloc failed, and keeps the reason.
    #[cfg(feature = "hwloc")]
    fn without_hwloc(error: PlatformError, allowed: &Allowed) -> Result<Self, PlatformError> {
        if hwloc::another_machine_is_wanted().is_some() {
            return Err(error);
        }
        let mut topology = Self::from_sysfs(Path::new("/"), allowed)?;
        topology.downgrade = Some(match topology.downgrade {
            Some(further) => format!("{error}; {further}"),
            None => error.to_string(),
        });
        Ok(topology)
    }

    /// Reads the topology from the kernel's files; a `root` other than `/` holds those of another machine,
    /// which is then simulated.
    ///
    /// ```
    /// use gfp::platform::{Topology, topology::Allowed};
    /// use std::path::Path;
    ///
    /// let here = Topology::from_sysfs(Path::new("/"), &Allowed::of_this_process()?)?;
    /// assert!(!here.is_simulated());
    /// let nowhere = Topology::from_sysfs(Path::new("/nonexistent"), &Allowed::default());
    /// assert!(nowhere.is_err());
    /// # Ok::<(), gfp::platform::PlatformError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A file that must exist is missing, has unexpected contents, or nothing is allowed.
    pub fn from_sysfs(root: &Path, allowed: &Allowed) -> Result<Self, PlatformError> {
        sysfs::load(root, allowed)
    }

    /// Makes up a machine from a description like `pack:2 node:1 l3:1 core:4 pu:2`, outermost level first.
    ///
    /// With the feature `hwloc` all of hwloc's synthetic language is understood (see its manual), without it
    /// the levels pack, node, l3, l2, core and pu, each with a count for each object of the level above.
    ///
    /// # Errors
    ///
    /// The description cannot be understood, or has more than 8192 CPUs or 1024 nodes.
    pub fn synthetic(description: &str) -> Result<Self, PlatformError> {
        #[cfg(feature = "hwloc")]
        let topology = hwloc::synthetic(description);
        #[cfg(not(feature = "hwloc"))]
        let topology = synthetic::parse(description);
        topology
    }

    /// Returns who described the machine.
    #[must_use]
    pub fn source(&self) -> TopologySource {
        self.source
    }

    /// Returns whether the described machine is another one than this, so that nothing may be bound to it.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// Returns why less is known than was hoped for, if so.
    #[must_use]
    pub fn downgrade(&self) -> Option<&str> {
        self.downgrade.as_deref()
    }

    /// Returns the CPUs by ascending number.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// Returns the nodes by ascending number; a [`NodeId`] is an index here.
    #[must_use]
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// Returns a CPU, if it is allowed.
    #[must_use]
    pub fn cpu(&self, cpu: CpuId) -> Option<&Cpu> {
        let index = self.cpus.binary_search_by_key(&cpu, |known| known.os_index).ok()?;
        Some(&self.cpus[index])
    }

    /// Returns a node, if the topology has it.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(node.0 as usize)
    }

    /// Returns the node that is local to a CPU, if both are known; takes one access to a table.
    #[inline]
    #[must_use]
    pub fn node_of(&self, cpu: CpuId) -> Option<NodeId> {
        self.node_by_cpu.get(cpu.0 as usize).copied().flatten()
    }

    /// Returns the relative cost of reaching the memory of `to` from the CPUs of `from`; 10 is local.
    ///
    /// # Panics
    ///
    /// Panics if a node is not of this topology.
    #[must_use]
    #[track_caller]
    pub fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        let count = self.nodes.len();
        let (row, column) = (from.0 as usize, to.0 as usize);
        assert!(row < count && column < count, "no distance from node {from} to {to}: there are {count}");
        self.distances[row * count + column]
    }

    /// Returns the CPUs in the order in which threads should be pinned to them: one CPU of each core before
    /// any SMT sibling, and all cores of a node before the next node.
    #[must_use]
    pub fn pin_order(&self) -> Vec<CpuId> {
        let no_node = NodeId(u32::MAX);
        let rank_in_core = |cpu: &Cpu| {
            self.cpus.iter().filter(|other| other.core == cpu.core && other.os_index < cpu.os_index).count()
        };
        let mut order: Vec<&Cpu> = self.cpus.iter().collect();
        order.sort_by_cached_key(|cpu| {
            (rank_in_core(cpu), cpu.node.unwrap_or(no_node), cpu.package, cpu.core, cpu.os_index)
        });
        order.into_iter().map(|cpu| cpu.os_index).collect()
    }
}
