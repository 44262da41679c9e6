//! A machine made up from a few words, where hwloc is not compiled in.
//!
//! The language is the plain part of hwloc's, and gives the same machine: `level:count` from the outside in,
//! each count being for one object of the level above; 1 GiB a node; L2 of 4 MiB and L3 of 16 MiB.

use std::collections::BTreeMap;

use super::super::PAGE_SIZE;
use super::super::error::PlatformError;
use super::parts::{CpuPart, NodePart, Parts};
use super::{Cache, PageSize, Topology, TopologySource, bounds};

const NODE_BYTES: u64 = 1 << 30;
const L2_BYTES: u64 = 4 << 20;
const L3_BYTES: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Package,
    Node,
    L3,
    L2,
    Core,
    Pu,
}

/// Makes up the machine that `description` tells.
pub(super) fn parse(description: &str) -> Result<Topology, PlatformError> {
    bounds::check_description(description)?;
    let refuse = |reason: String| PlatformError::topology(format!("the description {description:?}"), reason);
    let levels = description.split_whitespace().map(level).collect::<Result<Vec<_>, _>>().map_err(refuse)?;
    check_order(&levels).map_err(|reason| refuse(reason.to_owned()))?;
    let total: u32 = levels.iter().map(|&(_, count)| count).product();

    // How many CPUs one object of a level has; a level that is not named is one object around everything.
    let width = |kind: Kind| {
        let at = levels.iter().position(|&(named, _)| named == kind)?;
        Some(levels[at + 1..].iter().map(|&(_, count)| count).product::<u32>())
    };
    let index = |kind, cpu| width(kind).map_or(0, |width| cpu / width);
    let cache = |kind, bytes| width(kind).map(|sharers| Cache { bytes, sharers });
    let cpus = (0..total).map(|cpu| CpuPart {
        os_index: cpu,
        core: width(Kind::Core).map_or(cpu, |width| cpu / width),
        package: index(Kind::Package, cpu),
        node: Some(index(Kind::Node, cpu)),
        l2: cache(Kind::L2, L2_BYTES),
        l3: cache(Kind::L3, L3_BYTES),
    });
    let node_count = width(Kind::Node).map_or(1, |width| total / width);
    let page_size = PAGE_SIZE as u64;
    let nodes = (0..node_count).map(|node| NodePart {
        os_index: node,
        memory_bytes: NODE_BYTES,
        page_sizes: vec![PageSize { bytes: page_size, count: NODE_BYTES / page_size }],
    });
    Parts {
        source: TopologySource::Synthetic,
        simulated: true,
        downgrade: None,
        origin: description.to_owned(),
        cpus: cpus.collect(),
        nodes: nodes.collect(),
        distances: BTreeMap::new(),
    }
    .assemble()
}

/// Parses one `level:count`.
fn level(word: &str) -> Result<(Kind, u32), String> {
    let (name, count) = word.split_once(':').ok_or_else(|| {
        format!("{word:?} is not of the form level:count (attributes and [numa] need the feature hwloc)")
    })?;
    let kind = match name.to_ascii_lowercase().as_str() {
        "pack" | "package" | "socket" => Kind::Package,
        "node" | "numa" | "numanode" => Kind::Node,
        "l3" | "l3cache" => Kind::L3,
        "l2" | "l2cache" => Kind::L2,
        "core" => Kind::Core,
        "pu" => Kind::Pu,
        _ => return Err(format!("{name:?} is none of pack, node, l3, l2, core and pu")),
    };
    let count = count.parse().ok().filter(|&count| count > 0);
    count.map(|count| (kind, count)).ok_or_else(|| format!("{word:?} has no count of at least 1"))
}

/// Checks that each level is named once, and that caches, cores and CPUs nest as they do in hardware.
fn check_order(levels: &[(Kind, u32)]) -> Result<(), &'static str> {
    let inner_rank = |kind| match kind {
        Kind::Package | Kind::Node => 0,
        Kind::L3 => 1,
        Kind::L2 => 2,
        Kind::Core => 3,
        Kind::Pu => 4,
    };
    if levels.last().is_none_or(|&(kind, _)| kind != Kind::Pu) {
        return Err("its last level must be pu");
    }
    if levels
        .iter()
        .enumerate()
        .any(|(at, (kind, _))| levels[..at].iter().any(|(earlier, _)| earlier == kind))
    {
        return Err("it names a level twice");
    }
    if !levels.is_sorted_by_key(|&(kind, _)| inner_rank(kind)) {
        return Err("its levels must be ordered: pack and node, l3, l2, core, pu");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{CpuId, NodeId};
    use super::*;

    #[test]
    fn counts_multiply_from_the_outside_in() {
        let topology = parse("pack:2 node:2 l3:1 core:3 pu:2").expect("it can be understood");
        assert!(topology.is_simulated());
        assert_eq!(topology.source(), TopologySource::Synthetic);
        assert_eq!((topology.cpus().len(), topology.nodes().len()), (24, 4));
        let cpu = topology.cpu(CpuId(13)).expect("it exists");
        assert_eq!((cpu.package, cpu.core, cpu.node), (1, 6, Some(NodeId(2))));
        assert_eq!(cpu.cache_slice_bytes(), Some(L3_BYTES / 6));
        assert_eq!(topology.distance(NodeId(0), NodeId(3)), 20);
    }

    #[test]
    fn without_nodes_and_cores_there_is_one_node_and_a_core_for_each_cpu() {
        let topology = parse("pu:3").expect("it can be understood");
        assert_eq!(topology.nodes().len(), 1);
        assert_eq!(topology.cpus().iter().map(|cpu| cpu.core).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_the_reason() {
        for (description, reason) in [
            ("", "last level must be pu"),
            ("node:2 core:2", "last level must be pu"),
            ("pu:0", "count of at least 1"),
            ("pu:-1", "count of at least 1"),
            ("node:2 node:2 pu:1", "twice"),
            ("core:2 l3:1 pu:1", "ordered"),
            ("pack:2 [numa] pu:2", "feature hwloc"),
            ("die:2 pu:2", "none of"),
            ("node:65536 pu:65536", "more than"),
        ] {
            let text = parse(description).expect_err("it makes no sense").to_string();
            assert!(text.contains(reason), "{text}");
        }
    }
}
