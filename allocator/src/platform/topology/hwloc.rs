//! The topology through hwloc.
//!
//! hwloc is loaded without its own restriction to this process, because that needs the flag "assume this
//! system", under which a machine from an XML file would claim to be this one. CPUs outside of the process's
//! affinity are left out here instead.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use hwlocality::Topology as Hwloc;
use hwlocality::object::TopologyObject;
use hwlocality::object::attributes::ObjectAttributes;
use hwlocality::object::distance::DistancesKind;
use hwlocality::object::types::ObjectType;
use hwlocality::topology::builder::{BuildFlags, TopologyBuilder};

use super::super::error::{Asked, PlatformError};
use super::super::fault::{self, SystemCall};
use super::super::fork;
use super::parts::{CpuPart, NodePart, Parts};
use crate::sync::SpinGuard;

use super::{Allowed, Cache, PageSize, Topology, TopologySource, bounds, sysfs};

/// Reads this machine, or the one that hwloc's variables name.
pub(super) fn load(allowed: &Allowed) -> Result<Topology, PlatformError> {
    fault::check(SystemCall::HwlocLoad)
        .map_err(|errno| PlatformError::call(SystemCall::HwlocLoad, Asked::Nothing, errno))?;
    let _undivided = whole_in_children()?;
    let hwloc = build(Hwloc::builder(), "hwloc")?;
    let is_this_system = hwloc.is_this_system();
    if let Some(variable) = another_machine_is_wanted().filter(|_| is_this_system) {
        return Err(PlatformError::topology(variable, "hwloc cannot use what this variable names"));
    }
    let everything = Allowed::default();
    read(&hwloc, TopologySource::Hwloc, "hwloc", if is_this_system { allowed } else { &everything })
}

/// Makes up a machine from hwloc's synthetic language.
pub(super) fn synthetic(description: &str) -> Result<Topology, PlatformError> {
    bounds::check_description(description)?;
    let origin = format!("the description {description:?}");
    let _undivided = whole_in_children()?;
    let builder = Hwloc::builder()
        .from_synthetic(description)
        .map_err(|error| PlatformError::topology(origin.as_str(), error.to_string()))?;
    read(&build(builder, &origin)?, TopologySource::Synthetic, &origin, &Allowed::default())
}

/// Lets no fork come between: hwloc has a lock of its own, which a child would find locked for ever.
fn whole_in_children() -> Result<SpinGuard<'static, ()>, PlatformError> {
    fork::install()?;
    Ok(fork::undivided())
}

/// Returns the variable that asks hwloc for another machine than this, if one is set.
pub(super) fn another_machine_is_wanted() -> Option<&'static str> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_asserted = env::var_os("HWLOC_THISSYSTEM").is_some_and(|value| value == "1");
    ["HWLOC_XMLFILE", "HWLOC_SYNTHETIC"].into_iter().find(|name| is_set(name)).filter(|_| !is_asserted)
}

fn build(builder: TopologyBuilder, origin: &str) -> Result<Hwloc, PlatformError> {
    // What is not used is not discovered, and the calling thread is not moved from CPU to CPU to ask each.
    let flags =
        BuildFlags::IGNORE_MEMORY_ATTRIBUTES | BuildFlags::IGNORE_CPU_KINDS | BuildFlags::DONT_CHANGE_BINDING;
    let builder =
        builder.with_flags(flags).map_err(|error| PlatformError::topology(origin, error.to_string()))?;
    builder.build().map_err(|error| PlatformError::topology(origin, error.to_string()))
}

fn read(
    hwloc: &Hwloc,
    source: TopologySource,
    origin: &str,
    allowed: &Allowed,
) -> Result<Topology, PlatformError> {
    let simulated = !hwloc.is_this_system();
    let nodes = nodes(hwloc, allowed);
    let mut distances = distances(hwloc);
    let mut cpus_by_node = BTreeMap::new();
    if !simulated {
        // The kernel's files know more in two cases: hwloc has no matrix for some machines, and gives a node
        // of memory only the CPUs around it.
        let root = Path::new("/");
        if distances.is_empty() {
            let online = sysfs::online_nodes(root).unwrap_or_default();
            distances = sysfs::distances_between(root, &online);
        }
        for node in &nodes {
            if let Ok(cpus) = sysfs::cpus_of_node(root, node.os_index) {
                cpus_by_node.extend(cpus.into_iter().map(|cpu| (cpu, node.os_index)));
            }
        }
    }
    let cpus = hwloc
        .objects_with_type(ObjectType::PU)
        .filter_map(|pu| cpu(hwloc, pu, allowed, &cpus_by_node))
        .collect();
    Parts { source, simulated, downgrade: None, origin: origin.to_owned(), cpus, nodes, distances }.assemble()
}

fn cpu(
    hwloc: &Hwloc,
    pu: &TopologyObject,
    allowed: &Allowed,
    node_by_cpu: &BTreeMap<u32, u32>,
) -> Option<CpuPart> {
    let os_index = os_index(pu).filter(|&cpu| allowed.has_cpu(cpu))?;
    let ancestor = |kind| pu.first_ancestor_with_type(kind);
    let number = |object: &TopologyObject| u32::try_from(object.logical_index()).ok();
    Some(CpuPart {
        os_index,
        core: ancestor(ObjectType::Core).or(Some(pu)).and_then(number)?,
        package: ancestor(ObjectType::Package).map_or(Some(0), number)?,
        node: node_by_cpu.get(&os_index).copied().or_else(|| closest_node(hwloc, pu)),
        l2: ancestor(ObjectType::L2Cache).and_then(cache),
        l3: ancestor(ObjectType::L3Cache).and_then(cache),
    })
}

/// Returns the node with the fewest CPUs around it among those that have this CPU: the local one, unless a
/// node of memory only stands at the same place, and then the one with the lower number.
fn closest_node(hwloc: &Hwloc, pu: &TopologyObject) -> Option<u32> {
    let cpuset = pu.cpuset()?;
    let around = hwloc.objects_with_type(ObjectType::NUMANode).filter(|node| node.covers_cpuset(cpuset));
    let width = |node: &TopologyObject| node.cpuset().and_then(|cpus| cpus.weight());
    around.filter_map(|node| Some((width(node)?, os_index(node)?))).min().map(|(_, node)| node)
}

fn cache(object: &TopologyObject) -> Option<Cache> {
    let Some(ObjectAttributes::Cache(attributes)) = object.attributes() else { return None };
    let sharers = object.complete_cpuset().and_then(|cpus| cpus.weight())?;
    Some(Cache { bytes: attributes.size()?.get(), sharers: u32::try_from(sharers).ok()?.max(1) })
}

fn nodes(hwloc: &Hwloc, allowed: &Allowed) -> Vec<NodePart> {
    let part = |object: &TopologyObject| {
        let os_index = os_index(object).filter(|&node| allowed.has_node(node))?;
        let Some(ObjectAttributes::NUMANode(attributes)) = object.attributes() else { return None };
        let mut page_sizes: Vec<PageSize> = attributes
            .page_types()
            .iter()
            .map(|page| PageSize { bytes: page.size().get(), count: page.count() })
            .collect();
        page_sizes.sort_by_key(|page| page.bytes);
        let memory_bytes = attributes.local_memory().map_or(0, |bytes| bytes.get());
        Some(NodePart { os_index, memory_bytes, page_sizes })
    };
    hwloc.objects_with_type(ObjectType::NUMANode).filter_map(part).collect()
}

/// Reads a matrix of latencies between nodes; the operating system's goes before one that a file brought.
fn distances(hwloc: &Hwloc) -> BTreeMap<(u32, u32), u32> {
    let kind = Some(DistancesKind::MEANS_LATENCY);
    let matrices = hwloc.distances_with_type(kind, ObjectType::NUMANode).unwrap_or_default();
    let from_os = matrices.iter().find(|matrix| matrix.kind().contains(DistancesKind::FROM_OS));
    let Some(matrix) = from_os.or(matrices.first()) else { return BTreeMap::new() };
    let nodes: Vec<Option<u32>> = matrix.objects().map(|object| object.and_then(os_index)).collect();
    let pairs = nodes.iter().flat_map(|&from| nodes.iter().map(move |&to| Some((from?, to?))));
    let known = pairs.zip(matrix.distances());
    known.filter_map(|(pair, &distance)| Some((pair?, u32::try_from(distance).ok()?))).collect()
}

fn os_index(object: &TopologyObject) -> Option<u32> {
    u32::try_from(object.os_index()?).ok()
}
