//! Rules of the topology on made-up file trees, and agreement of the sources on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::Errno;
use super::super::fault::{self, Occurrence, SystemCall};
use super::*;

/// The files of a machine, removed on drop.
struct FakeTree {
    root: PathBuf,
}

impl FakeTree {
    /// Starts a machine without nodes whose online CPUs are given.
    fn new(name: &str, online_cpus: &str) -> Self {
        let root = std::env::temp_dir().join(format!("gfp-topology-{}-{name}", std::process::id()));
        let tree = Self { root };
        tree.file("sys/devices/system/cpu/online", online_cpus);
        tree.file("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");
        tree
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("temporary folder");
        fs::write(path, text).expect("temporary file");
    }

    fn cpu(&self, cpu: u32, package: u32, siblings: &str) {
        let topology = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        self.file(&format!("{topology}/physical_package_id"), &format!("{package}\n"));
        self.file(&format!("{topology}/core_cpus_list"), siblings);
    }

    fn cache(&self, cpu: u32, index: u32, level: u32, size: &str, sharers: &str) {
        let cache = format!("sys/devices/system/cpu/cpu{cpu}/cache/index{index}");
        self.file(&format!("{cache}/level"), &level.to_string());
        self.file(&format!("{cache}/type"), "Unified\n");
        self.file(&format!("{cache}/size"), size);
        self.file(&format!("{cache}/shared_cpu_list"), sharers);
    }

    fn node(&self, node: u32, cpus: &str, kib: u64, distance: &str) {
        let directory = format!("sys/devices/system/node/node{node}");
        self.file(&format!("{directory}/cpulist"), cpus);
        self.file(&format!("{directory}/distance"), distance);
        self.file(&format!("{directory}/meminfo"), &format!("Node {node} MemTotal: {kib} kB\n"));
    }

    fn load(&self, allowed: &Allowed) -> Result<Topology, PlatformError> {
        Topology::from_sysfs(&self.root, allowed)
    }
}

impl Drop for FakeTree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Two sockets with two cores of two CPUs each, numbered as most servers do (siblings last, sockets
/// alternating), CPU 7 offline, and a third node of memory only.
fn two_sockets(name: &str) -> FakeTree {
    let tree = FakeTree::new(name, "0-6\n");
    for cpu in 0..7 {
        let (first, second) = (cpu % 4, cpu % 4 + 4);
        let siblings = if second == 7 { format!("{first}\n") } else { format!("{first},{second}\n") };
        tree.cpu(cpu, cpu % 2, &siblings);
        let socket = if cpu % 2 == 0 { "0,2,4,6\n" } else { "1,3,5\n" };
        tree.cache(cpu, 0, 1, "48K\n", &siblings);
        tree.cache(cpu, 1, 2, "2048K\n", &siblings);
        tree.cache(cpu, 2, 3, "32M\n", socket);
    }
    tree.file("sys/devices/system/node/online", "0-2\n");
    tree.node(0, "0,2,4,6\n", 1 << 20, "10 21 31\n");
    tree.node(1, "1,3,5\n", 1 << 20, "21 10 41\n");
    tree.node(2, "\n", 1 << 22, "31 41 10\n");
    tree.file("sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
    tree
}

fn ids(numbers: &[u32]) -> Vec<CpuId> {
    numbers.iter().copied().map(CpuId).collect()
}

#[test]
fn sysfs_tells_cpus_cores_packages_nodes_and_distances() {
    let topology = two_sockets("all").load(&Allowed::default()).expect("the tree is complete");
    assert!(topology.is_simulated() && topology.downgrade().is_none());
    assert_eq!(topology.source(), TopologySource::Sysfs);
    let places: Vec<_> = topology.cpus().iter().map(|cpu| (cpu.core, cpu.package, cpu.node)).collect();
    let (left, right) = (Some(NodeId(0)), Some(NodeId(1)));
    let expected =
        [(0, 0, left), (1, 1, right), (2, 0, left), (3, 1, right), (0, 0, left), (1, 1, right), (2, 0, left)];
    assert_eq!(places, expected);
    assert_eq!(topology.distance(NodeId(2), NodeId(1)), 41);
    assert_eq!(topology.distance(NodeId(0), NodeId(0)), 10);
    let cpu = topology.cpu(CpuId(0)).expect("it is online");
    assert_eq!(cpu.l2, Some(Cache { bytes: 2 << 20, sharers: 2 }));
    assert_eq!(cpu.cache_slice_bytes(), Some(8 << 20));
}

#[test]
fn a_node_of_memory_only_has_no_cpus_but_memory_and_page_sizes() {
    let topology = two_sockets("memory").load(&Allowed::default()).expect("the tree is complete");
    let node = topology.node(NodeId(2)).expect("it is online");
    assert_eq!((node.os_index, node.memory_bytes, node.cpus.len()), (2, 4 << 30, 0));
    let sizes = [PageSize { bytes: 4096, count: 3 << 18 }, PageSize { bytes: 2 << 20, count: 512 }];
    assert_eq!(node.page_sizes, sizes);
}

#[test]
fn offline_and_forbidden_cpus_are_absent() {
    let tree = two_sockets("forbidden");
    let allowed = Allowed { cpus: Some(BTreeSet::from([2, 5, 7])), nodes: None };
    let topology = tree.load(&allowed).expect("two CPUs are left");
    assert_eq!(topology.cpus().iter().map(|cpu| cpu.os_index).collect::<Vec<_>>(), ids(&[2, 5]));
    assert_eq!(topology.cpu(CpuId(7)), None);
    assert_eq!(topology.nodes()[1].cpus, ids(&[5]));
    assert_eq!((topology.node_of(CpuId(5)), topology.node_of(CpuId(4))), (Some(NodeId(1)), None));
    assert_eq!(topology.node_of(CpuId(4096)), None);
    // The sharers of a cache do not depend on what this process may use.
    assert_eq!(topology.cpus()[0].l3.map(|cache| cache.sharers), Some(4));
}

#[test]
fn a_forbidden_node_is_absent_and_leaves_its_cpus_without_one() {
    let allowed = Allowed { cpus: None, nodes: Some(BTreeSet::from([1, 2])) };
    let topology = two_sockets("nodes").load(&allowed).expect("two nodes are left");
    assert_eq!(topology.nodes().iter().map(|node| node.os_index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(topology.cpus()[0].node, None);
    assert_eq!(topology.cpus()[1].node, Some(NodeId(0)));
    assert_eq!(topology.distance(NodeId(0), NodeId(1)), 41);
    assert!(topology.to_string().contains("without a node"), "{topology}");
}

#[test]
fn threads_fill_the_cores_of_a_node_then_the_next_node_and_siblings_last() {
    let topology = two_sockets("pins").load(&Allowed::default()).expect("the tree is complete");
    assert_eq!(topology.pin_order(), ids(&[0, 2, 1, 3, 4, 6, 5]));
    let synthetic = Topology::synthetic("node:2 core:2 pu:2").expect("it can be understood");
    assert_eq!(synthetic.pin_order(), ids(&[0, 2, 4, 6, 1, 3, 5, 7]));
}

#[test]
fn a_kernel_without_numa_has_one_node_and_says_so() {
    let tree = FakeTree::new("flat", "0-1");
    let topology = tree.load(&Allowed::default()).expect("one node is assumed");
    assert_eq!(topology.nodes().len(), 1);
    assert_eq!(topology.nodes()[0].memory_bytes, 2 << 20);
    assert_eq!(topology.nodes()[0].cpus, ids(&[0, 1]));
    assert!(topology.downgrade().is_some_and(|reason| reason.contains("one node is assumed")));
    // A machine that tells nothing of its cores has as many as CPUs.
    assert_eq!(topology.cpus()[1].core, 1);
}

#[test]
fn missing_distances_are_10_and_20() {
    let tree = FakeTree::new("distances", "0");
    tree.file("sys/devices/system/node/online", "0,4");
    tree.node(0, "0", 1024, "10");
    tree.node(4, "", 1024, "not a number");
    let topology = tree.load(&Allowed::default()).expect("distances are optional");
    let (a, b) = (NodeId(0), NodeId(1));
    let matrix = [(a, a), (a, b), (b, a), (b, b)].map(|(from, to)| topology.distance(from, to));
    assert_eq!(matrix, [10, 20, 20, 10]);
}

#[test]
fn broken_files_and_empty_machines_are_typed_errors() {
    let text =
        |tree: &FakeTree, allowed: &Allowed| tree.load(allowed).expect_err("it makes no sense").to_string();
    let tree = FakeTree::new("broken", "0-x");
    assert!(text(&tree, &Allowed::default()).contains("list of numbers"));
    let tree = two_sockets("none");
    let no_cpu = Allowed { cpus: Some(BTreeSet::from([99])), nodes: None };
    assert!(text(&tree, &no_cpu).contains("no CPU"));
    let no_node = Allowed { cpus: None, nodes: Some(BTreeSet::new()) };
    assert!(text(&tree, &no_node).contains("no node"));
    tree.file("sys/devices/system/node/node1/meminfo", "Node 1 MemFree: 1 kB\n");
    assert!(text(&tree, &Allowed::default()).contains("MemTotal"));
    let nowhere = Topology::from_sysfs(Path::new("/nonexistent"), &Allowed::default());
    let error = nowhere.expect_err("there is no such folder");
    assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::ReadFile, .. }), "{error}");
}

#[test]
#[should_panic(expected = "no distance from node 0 to 9")]
fn the_distance_of_an_unknown_node_is_refused() {
    let _ = Topology::synthetic("pu:1").expect("it can be understood").distance(NodeId(0), NodeId(9));
}

#[test]
fn this_machine_loads_fast_and_holds_what_is_allowed() {
    let allowed = Allowed::of_this_process().expect("the kernel tells");
    let fastest = (0..5).map(|_| {
        let start = Instant::now();
        let topology = Topology::load().expect("this machine has a topology");
        assert!(!topology.is_simulated());
        let cpus: BTreeSet<u32> = topology.cpus().iter().map(|cpu| cpu.os_index.0).collect();
        assert_eq!(Some(cpus), allowed.cpus);
        start.elapsed()
    });
    let fastest = fastest.min().expect("it was loaded");
    assert!(fastest < Duration::from_millis(30), "{fastest:?}");
}

#[test]
fn an_unreadable_machine_is_a_typed_error() {
    let _files = fault::fail(SystemCall::ReadFile, Occurrence::Always, Errno::ACCESS);
    let _hwloc = fault::fail(SystemCall::HwlocLoad, Occurrence::Always, Errno::NOSYS);
    let error = Topology::load().expect_err("nothing can be read");
    assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::ReadFile, .. }), "{error}");
}

#[cfg(feature = "hwloc")]
mod with_hwloc {
    use std::process::Command;

    use super::super::super::test_process::isolated;
    use super::*;

    #[test]
    fn hwloc_and_sysfs_agree_on_this_machine() {
        let allowed = Allowed::of_this_process().expect("the kernel tells");
        let hwloc = Topology::load().expect("hwloc works");
        let sysfs = Topology::from_sysfs(Path::new("/"), &allowed).expect("sysfs works");
        assert_eq!((hwloc.source(), sysfs.source()), (TopologySource::Hwloc, TopologySource::Sysfs));
        assert_eq!(hwloc.cpus(), sysfs.cpus());
        assert_eq!(hwloc.distances, sysfs.distances);
        assert_eq!(hwloc.pin_order(), sysfs.pin_order());
        assert_eq!(hwloc.nodes().len(), sysfs.nodes().len());
        for (ours, theirs) in hwloc.nodes().iter().zip(sysfs.nodes()) {
            assert_eq!((ours.os_index, &ours.cpus), (theirs.os_index, &theirs.cpus));
            // A virtual machine's memory may change between the two.
            assert!(ours.memory_bytes.abs_diff(theirs.memory_bytes) <= theirs.memory_bytes / 10);
            let sizes = |node: &NodeInfo| node.page_sizes.iter().map(|page| page.bytes).collect::<Vec<_>>();
            assert_eq!(sizes(ours), sizes(theirs));
        }
    }

    #[test]
    fn without_hwloc_sysfs_is_read_and_the_reason_is_kept() {
        let _guard = fault::fail(SystemCall::HwlocLoad, Occurrence::Always, Errno::NOSYS);
        let topology = Topology::load().expect("sysfs works");
        assert_eq!(topology.source(), TopologySource::Sysfs);
        assert!(topology.downgrade().is_some_and(|reason| reason.contains("hwloc_topology_load")));
    }

    #[test]
    fn the_plain_synthetic_language_gives_the_machine_that_hwloc_makes() {
        for description in
            ["node:4 core:8 pu:2", "pack:2 node:2 l3:1 l2:4 core:1 pu:2", "pu:3", "node:2 pack:2 core:2 pu:1"]
        {
            let hwloc = Topology::synthetic(description).expect("hwloc understands it");
            let plain = synthetic::parse(description).expect("it can be understood");
            assert_eq!(hwloc, plain, "{description}");
        }
    }

    #[test]
    fn hwloc_understands_attributes_and_refuses_nonsense() {
        let topology =
            Topology::synthetic("pack:2 [numa(memory=17179869184)] [numa(memory=8589934592)] core:2 pu:1");
        let topology = topology.expect("hwloc understands it");
        assert!(topology.is_simulated());
        let cpus: Vec<_> = topology.nodes().iter().map(|node| node.cpus.len()).collect();
        // Of two nodes at one place the first is local.
        assert_eq!(cpus, [2, 0, 2, 0]);
        let error = Topology::synthetic("node:nonsense").expect_err("it makes no sense").to_string();
        assert!(error.contains("node:nonsense"), "{error}");
    }

    #[test]
    fn the_synthetic_variable_replaces_the_machine_and_is_reported() {
        let name = "platform::topology::tests::with_hwloc::the_synthetic_variable_replaces_the_machine_and_is_reported";
        isolated(name, &[("HWLOC_SYNTHETIC", "pack:2 [numa] core:4 pu:2")], || {
            let topology = Topology::load().expect("hwloc understands it");
            assert!(topology.is_simulated());
            assert_eq!((topology.nodes().len(), topology.cpus().len()), (2, 16));
        });
    }

    #[test]
    fn a_machine_from_a_file_is_simulated() {
        let name = "platform::topology::tests::with_hwloc::a_machine_from_a_file_is_simulated";
        let machine =
            hwlocality::Topology::builder().from_synthetic("pack:2 [numa] core:2 pu:2").expect("plain");
        let machine = machine.build().expect("hwloc builds it");
        let path = std::env::temp_dir().join(format!("gfp-machine-{}.xml", std::process::id()));
        let xml = machine.export_xml(hwlocality::topology::export::xml::XMLExportFlags::empty());
        fs::write(&path, &*xml.expect("hwloc exports it")).expect("temporary file");
        let file = ("HWLOC_XMLFILE", path.to_str().expect("it is UTF-8"));
        isolated(name, &[file], || {
            let topology = Topology::load().expect("hwloc reads the file");
            assert!(topology.is_simulated());
            assert_eq!((topology.nodes().len(), topology.cpus().len()), (2, 8));
        });
        let _ = fs::remove_file(path);
    }

    #[test]
    fn an_unusable_variable_is_an_error_and_never_this_machine() {
        let name =
            "platform::topology::tests::with_hwloc::an_unusable_variable_is_an_error_and_never_this_machine";
        for variable in [("HWLOC_XMLFILE", "/nonexistent.xml"), ("HWLOC_SYNTHETIC", "node:nonsense")] {
            isolated(name, &[variable], || {
                let error = Topology::load().expect_err("the description is unusable").to_string();
                assert!(error.contains("HWLOC_"), "{error}");
            });
        }
    }

    #[test]
    fn a_taskset_is_obeyed() {
        let name = "platform::topology::tests::with_hwloc::a_taskset_is_obeyed";
        isolated(name, &[], || {
            // A child inherits the affinity of the thread that starts it, which is pinned here.
            let pinned = crate::sync::thread::spawn(|| {
                let first = Topology::load().expect("hwloc works").cpus()[0].os_index;
                super::super::super::pin::pin_current(first).expect("the CPU is allowed");
                let program = std::env::current_exe().expect("a test knows its own program");
                let test = "platform::topology::tests::this_machine_loads_fast_and_holds_what_is_allowed";
                let run = Command::new(program).args([test, "--exact"]).output().expect("it starts");
                assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
            });
            pinned.join().expect("the thread passes");
        });
    }
}
