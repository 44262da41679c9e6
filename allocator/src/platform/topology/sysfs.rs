//! The topology from the kernel's files (admin-guide: cputopology; ABI: sysfs-devices-node, -system-cpu).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::{Errno, PAGE_SIZE, sys};
use super::parts::{CpuPart, NodePart, Parts};
use super::{Allowed, Cache, PageSize, Topology, TopologySource, cpu_list};

/// Reads the CPUs and nodes whose files lie under `root`.
pub(super) fn load(root: &Path, allowed: &Allowed) -> Result<Topology, PlatformError> {
    let tree = Tree { cpu: root.join("sys/devices/system/cpu"), node: root.join("sys/devices/system/node") };
    let online = read_list(&tree.cpu.join("online"))?;
    let mut node_of_cpu = BTreeMap::new();
    let mut distances = BTreeMap::new();
    let (nodes, downgrade) = match read_list(&tree.node.join("online")) {
        Ok(numbers) => {
            distances = distances_between(root, &numbers);
            let mut nodes = Vec::new();
            for &node in numbers.iter().filter(|&&node| allowed.has_node(node)) {
                node_of_cpu.extend(cpus_of_node(root, node)?.into_iter().map(|cpu| (cpu, node)));
                nodes.push(tree.node_part(node)?);
            }
            (nodes, None)
        }
        Err(PlatformError::SystemCall { errno: Errno::NOENT, .. }) => {
            node_of_cpu.extend(online.iter().map(|&cpu| (cpu, 0)));
            let reason = format!("{} is missing: one node is assumed", tree.node.display());
            (vec![only_node(root)?], Some(reason))
        }
        Err(error) => return Err(error),
    };
    let mut caches = Caches::default();
    let cpus = online.into_iter().filter(|&cpu| allowed.has_cpu(cpu));
    let cpus = cpus.map(|cpu| tree.cpu_part(cpu, node_of_cpu.get(&cpu).copied(), &mut caches)).collect();
    Parts {
        source: TopologySource::Sysfs,
        simulated: root != Path::new("/"),
        downgrade,
        origin: tree.cpu.display().to_string(),
        cpus,
        nodes,
        distances,
    }
    .assemble()
}

/// Reads which CPUs are local to a node.
pub(super) fn cpus_of_node(root: &Path, node: u32) -> Result<Vec<u32>, PlatformError> {
    read_list(&root.join(format!("sys/devices/system/node/node{node}/cpulist")))
}

/// Reads the distances between nodes; a row has a column for each online node in ascending order, and one
/// that cannot be read is left out.
pub(super) fn distances_between(root: &Path, online: &[u32]) -> BTreeMap<(u32, u32), u32> {
    let mut distances = BTreeMap::new();
    for &from in online {
        let path = root.join(format!("sys/devices/system/node/node{from}/distance"));
        let row = sys::read_file(&path).unwrap_or_default();
        let row: Option<Vec<u32>> = row.split_whitespace().map(|value| value.parse().ok()).collect();
        let row = row.filter(|row| row.len() == online.len()).unwrap_or_default();
        distances.extend(online.iter().zip(row).map(|(&to, distance)| ((from, to), distance)));
    }
    distances
}

/// Reads which nodes are online.
#[cfg(feature = "hwloc")]
pub(super) fn online_nodes(root: &Path) -> Result<Vec<u32>, PlatformError> {
    read_list(&root.join("sys/devices/system/node/online"))
}

struct Tree {
    cpu: PathBuf,
    node: PathBuf,
}

/// A cache with its level; none where it holds no data, or nobody says how much.
type LeveledCache = (u32, Option<Cache>);

/// Caches by index and CPU, so that the files of a shared cache are read once and not once a CPU.
type Caches = BTreeMap<(u32, u32), LeveledCache>;

impl Tree {
    /// Reads a CPU; what a virtual machine or an architecture does not tell falls back to "its own core, one
    /// package, no known cache".
    fn cpu_part(&self, cpu: u32, node: Option<u32>, caches: &mut Caches) -> CpuPart {
        let directory = self.cpu.join(format!("cpu{cpu}"));
        let topology = directory.join("topology");
        // The newer name since Linux 5.3.
        let siblings = read_list(&topology.join("core_cpus_list"))
            .or_else(|_| read_list(&topology.join("thread_siblings_list")))
            .unwrap_or_default();
        let package = sys::read_file(&topology.join("physical_package_id")).ok();
        let mut part = CpuPart {
            os_index: cpu,
            core: siblings.first().copied().unwrap_or(cpu),
            package: package.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            node,
            l2: None,
            l3: None,
        };
        for index in 0.. {
            let known = caches.get(&(index, cpu)).copied();
            let Some((level, cache)) = known.or_else(|| read_cache(&directory, index, cpu, caches)) else {
                break;
            };
            match level {
                2 => part.l2 = part.l2.or(cache),
                3 => part.l3 = part.l3.or(cache),
                _ => {}
            }
        }
        part
    }

    fn node_part(&self, node: u32) -> Result<NodePart, PlatformError> {
        let directory = self.node.join(format!("node{node}"));
        let memory_bytes = total_memory(&directory.join("meminfo"))?;
        let page_sizes = page_sizes(memory_bytes, &directory.join("hugepages"));
        Ok(NodePart { os_index: node, memory_bytes, page_sizes })
    }
}

/// Makes a node of the whole memory, for a kernel without NUMA.
fn only_node(root: &Path) -> Result<NodePart, PlatformError> {
    let memory_bytes = total_memory(&root.join("proc/meminfo"))?;
    let page_sizes = page_sizes(memory_bytes, &root.join("sys/kernel/mm/hugepages"));
    Ok(NodePart { os_index: 0, memory_bytes, page_sizes })
}

/// Reads a cache of a CPU: its level, and itself if it holds data; notes it for all that share it.
fn read_cache(cpu_directory: &Path, index: u32, cpu: u32, caches: &mut Caches) -> Option<LeveledCache> {
    let directory = cpu_directory.join(format!("cache/index{index}"));
    let level = sys::read_file(&directory.join("level")).ok()?.trim().parse().ok()?;
    let sharers = read_list(&directory.join("shared_cpu_list")).unwrap_or_else(|_| vec![cpu]);
    let holds_data = sys::read_file(&directory.join("type")).is_ok_and(|kind| kind.trim() != "Instruction");
    let bytes = sys::read_file(&directory.join("size")).ok().and_then(|text| parse_size(&text));
    let count = u32::try_from(sharers.len()).unwrap_or(u32::MAX).max(1);
    let cache = bytes.filter(|_| holds_data).map(|bytes| Cache { bytes, sharers: count });
    caches.extend(sharers.into_iter().map(|sharer| ((index, sharer), (level, cache))));
    Some((level, cache))
}

/// Parses a size like `2048K`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reads `MemTotal: <KiB> kB`, which node files prefix by `Node <n>`.
fn total_memory(path: &Path) -> Result<u64, PlatformError> {
    let text = read(path)?;
    let kib = text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|&word| word != "MemTotal:").skip(1);
        words.next()?.parse::<u64>().ok()
    });
    kib.and_then(|kib| kib.checked_mul(1024)).ok_or_else(|| malformed(path, "it has no line MemTotal"))
}

/// Lists the page sizes of a node; the smallest has what the pools of huge pages leave.
fn page_sizes(memory_bytes: u64, pools: &Path) -> Vec<PageSize> {
    let mut sizes: Vec<PageSize> = sys::list_directory(pools)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| {
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = sys::read_file(&pools.join(&name).join("nr_hugepages")).ok()?;
            Some(PageSize { bytes: kib.checked_mul(1024)?, count: count.trim().parse().ok()? })
        })
        .collect();
    let pooled =
        sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(size.bytes.saturating_mul(size.count)));
    let small = PAGE_SIZE as u64;
    sizes.push(PageSize { bytes: small, count: memory_bytes.saturating_sub(pooled) / small });
    sizes.sort_by_key(|size| size.bytes);
    sizes
}

fn read(path: &Path) -> Result<String, PlatformError> {
    sys::read_file(path)
        .map_err(|errno| PlatformError::call(SystemCall::ReadFile, Asked::File(path.into()), errno))
}

fn read_list(path: &Path) -> Result<Vec<u32>, PlatformError> {
    cpu_list::parse(&read(path)?).ok_or_else(|| malformed(path, "it is no list of numbers like 0-3,8"))
}

fn malformed(path: &Path, reason: &str) -> PlatformError {
    PlatformError::topology(path.display().to_string(), reason)
}
