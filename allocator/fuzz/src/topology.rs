//! Descriptions of machines: in words, and as the kernel's files.

use std::{env, fs, path::PathBuf, process, thread};

use gfp::{
    Allocator, Gfp, Maintain, Nid, Order, Spread,
    platform::{CpuId, NodeId, Topology, topology::Allowed},
};

use crate::input::Input;

/// The files of sysfs that a topology is read from, for CPUs 0, 1 and 9 and nodes 0, 1 and 5.
const FILES: [&str; 30] = [
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/cpu0/topology/core_cpus_list",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
    "sys/devices/system/cpu/cpu0/topology/physical_package_id",
    "sys/devices/system/cpu/cpu0/cache/index0/level",
    "sys/devices/system/cpu/cpu0/cache/index0/type",
    "sys/devices/system/cpu/cpu0/cache/index0/size",
    "sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list",
    "sys/devices/system/cpu/cpu0/cache/index1/level",
    "sys/devices/system/cpu/cpu0/cache/index1/type",
    "sys/devices/system/cpu/cpu0/cache/index1/size",
    "sys/devices/system/cpu/cpu0/cache/index1/shared_cpu_list",
    "sys/devices/system/cpu/cpu1/topology/core_cpus_list",
    "sys/devices/system/cpu/cpu1/topology/physical_package_id",
    "sys/devices/system/cpu/cpu1/cache/index0/level",
    "sys/devices/system/cpu/cpu1/cache/index0/size",
    "sys/devices/system/cpu/cpu9/topology/core_cpus_list",
    "sys/devices/system/node/online",
    "sys/devices/system/node/node0/cpulist",
    "sys/devices/system/node/node0/distance",
    "sys/devices/system/node/node0/meminfo",
    "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
    "sys/devices/system/node/node1/cpulist",
    "sys/devices/system/node/node1/distance",
    "sys/devices/system/node/node1/meminfo",
    "sys/devices/system/node/node5/cpulist",
    "sys/devices/system/node/node5/distance",
    "sys/devices/system/node/node5/meminfo",
    "proc/meminfo",
    "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
];

/// Nodes of a machine for which an allocator is built.
const NODES_BUILT: usize = 8;

/// Checks a description in words, or (an odd first byte) files: a line for each, its number and what stands in it, with
/// `|` for the ends of its lines.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let found = if input.u8().is_multiple_of(2) {
        let Ok(text) = str::from_utf8(input.rest()) else { return };
        Topology::synthetic(text)
    } else {
        let tree = Tree::write(input);
        Topology::from_sysfs(&tree.0, &Allowed::default())
    };
    match found {
        Ok(topology) => consistent(&topology),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A folder with files of sysfs; removed when dropped.
struct Tree(PathBuf);

impl Tree {
    fn write(mut input: Input<'_>) -> Self {
        let name = format!("gfp-fuzz-{}-{:?}", process::id(), thread::current().id());
        let tree = Self(env::temp_dir().join(name));
        while !input.is_empty() {
            let file = FILES[usize::from(input.u8()) % FILES.len()];
            let text: Vec<u8> =
                input.line().iter().map(|&byte| if byte == b'|' { b'\n' } else { byte }).collect();
            let path = tree.0.join(file);
            let folder = path.parent().expect("it lies in a folder");
            fs::create_dir_all(folder).expect("the folder for temporary files can be written");
            fs::write(path, text).expect("the folder for temporary files can be written");
        }
        tree
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // There is none where no file was written.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn consistent(topology: &Topology) {
    let (cpus, nodes) = (topology.cpus(), topology.nodes());
    assert!(!cpus.is_empty() && !nodes.is_empty());
    assert!(cpus.is_sorted_by(|a, b| a.os_index < b.os_index));
    assert!(nodes.is_sorted_by(|a, b| a.os_index < b.os_index));
    assert!(topology.is_simulated());
    let mut pinned = topology.pin_order();
    pinned.sort_unstable();
    assert!(pinned.iter().eq(cpus.iter().map(|cpu| &cpu.os_index)));
    for cpu in cpus {
        assert_eq!(topology.node_of(cpu.os_index), cpu.node);
        let local = cpu.node.map(|node| topology.node(node).expect("it is of this topology"));
        assert!(local.is_none_or(|node| node.cpus.contains(&cpu.os_index)));
    }
    let members: usize = nodes.iter().map(|node| node.cpus.len()).sum();
    assert_eq!(members, cpus.iter().filter(|cpu| cpu.node.is_some()).count());
    assert_eq!(topology.node_of(CpuId(u32::MAX)), None);
    for from in (0..).take(nodes.len()).map(NodeId) {
        let farthest = (0..).take(nodes.len()).map(|to| topology.distance(from, NodeId(to))).max();
        assert!(farthest >= Some(topology.distance(from, from)));
    }
    assert!(!topology.to_string().is_empty());
    if nodes.len() <= NODES_BUILT && nodes.iter().all(|node| node.memory_bytes > 0) {
        usable(topology);
    }
}

/// Builds an allocator for the machine, and asks each of its nodes.
fn usable(topology: &Topology) {
    let nodes = topology.nodes().len();
    let allocator = Allocator::builder(nodes * (4 << 20))
        .topology(topology.clone())
        .nodes(Spread::AllNodes)
        .dma(0)
        .maintain(Maintain::ByHand)
        .build()
        .expect("4 MiB on each node");
    assert_eq!(allocator.nodes().len(), nodes);
    for node in (0..nodes).map(Nid::new) {
        let pages = allocator.alloc_pages_node(Some(node), Gfp::KERNEL | Gfp::THISNODE, Order::ZERO);
        assert_eq!(allocator.node_of(&pages.expect("nothing is in use")), node);
    }
}
