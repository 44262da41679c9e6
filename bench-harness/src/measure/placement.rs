//! Which CPU each thread of a team goes to: orders of CPUs that follow the topology.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use core_affinity::CoreId;
use gfp::platform::{Topology, topology::Cpu};

use super::Cpus;
use crate::environment::parse_list;

/// The order in which threads take CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Placement {
    /// Fills a core, with a thread to each of its hardware threads, before the next core
    Core,
    /// Fills the cores that share a last-level cache, then their other hardware threads, before the next cache
    Cache,
    /// Fills the cores of a NUMA node, then their other hardware threads, before the next node
    #[default]
    Node,
    /// Fills the cores of a package, then their other hardware threads, before the next package
    Package,
    /// Deals threads out over packages, then nodes, caches and cores; a second hardware thread of a core comes last
    Spread,
}

impl Placement {
    /// Returns the name that the command line and the records use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Cache => "cache",
            Self::Node => "node",
            Self::Package => "package",
            Self::Spread => "spread",
        }
    }

    /// Returns the CPUs of this machine in this order; or those of the machine that hwloc's variables describe, with the
    /// threads on CPUs of this one.
    ///
    /// To be called before any thread is pinned, which then sees only its own CPU.
    ///
    /// # Errors
    /// The topology cannot be read, or the system names no CPU.
    pub fn cpus(self) -> anyhow::Result<Cpus> {
        let topology = topology()?;
        let order = self.order(&topology);
        let here = core_affinity::get_core_ids().unwrap_or_default();
        let is_here = |cpu: &CoreId| here.iter().any(|known| known.id == cpu.id);
        if topology.is_simulated() || !order.iter().all(is_here) {
            Cpus::simulated(&order, here)
        } else {
            Cpus::in_order(order)
        }
        .map(|cpus| cpus.on_nodes_of(&topology))
    }

    /// Returns the CPUs of a machine in this order.
    fn order(self, topology: &Topology) -> Vec<CoreId> {
        let mut places = places(topology, &cache_names(topology));
        places.sort_by_key(|place| self.key(place));
        places.iter().map(|place| CoreId { id: place.cpu as usize }).collect()
    }

    /// Returns what CPUs are sorted by.
    fn key(self, at: &Place) -> [u32; 5] {
        let Place { package, node, cache, core, thread, .. } = *at;
        match self {
            Self::Core => [package.machine, node.machine, cache.machine, core.machine, thread],
            Self::Cache => [package.machine, node.machine, cache.machine, thread, core.machine],
            Self::Node => [package.machine, node.machine, thread, cache.machine, core.machine],
            Self::Package => [package.machine, thread, node.machine, cache.machine, core.machine],
            Self::Spread => [thread, core.parent, cache.parent, node.parent, package.machine],
        }
    }
}

/// Returns the topology of this machine, or of the one that hwloc's variables describe. A build without hwloc knows one of them,
/// `HWLOC_SYNTHETIC`, and the plain words of its language.
///
/// # Errors
/// It cannot be read.
pub fn topology() -> anyhow::Result<Topology> {
    let described = std::env::var("HWLOC_SYNTHETIC").ok().filter(|text| !text.is_empty());
    match described {
        Some(text) if !cfg!(feature = "hwloc") => {
            Topology::synthetic(&text).context("cannot use what HWLOC_SYNTHETIC describes")
        }
        _ => Topology::load().context("cannot read the topology of this machine"),
    }
}

/// The number of a part of the machine.
#[derive(Clone, Copy)]
struct Number {
    /// Among all of its kind.
    machine: u32,
    /// Among those of the next larger part: the caches of a node, the cores of a cache.
    parent: u32,
}

/// A CPU by the parts of the machine that it lies in.
struct Place {
    cpu: u32,
    package: Number,
    node: Number,
    cache: Number,
    core: Number,
    /// Its number among the hardware threads of its core.
    thread: u32,
}

/// Finds the place of every CPU.
fn places(topology: &Topology, caches: &HashMap<u32, u32>) -> Vec<Place> {
    // Numbers by the path from the package down: a part that another one is split over counts once in each.
    let mut numbers = Numbering::default();
    nested(topology)
        .into_iter()
        .map(|cpu| {
            let id = cpu.os_index.0;
            let node = cpu.node.map_or(u32::MAX, |node| node.0);
            let mut path = vec![cpu.package];
            let package = numbers.of(&path);
            let mut inner = |name| {
                path.push(name);
                numbers.of(&path)
            };
            let (node, cache, core) = (inner(node), inner(caches[&id]), inner(cpu.core));
            let thread = inner(id).parent;
            Place { cpu: id, package, node, cache, core, thread }
        })
        .collect()
}

/// Returns the CPUs of each package, node and core one after the other.
fn nested(topology: &Topology) -> Vec<&Cpu> {
    let mut cpus: Vec<&Cpu> = topology.cpus().iter().collect();
    cpus.sort_by_key(|cpu| (cpu.package, cpu.node, cpu.core, cpu.os_index));
    cpus
}

/// Numbers parts in the order in which they are met.
#[derive(Default)]
struct Numbering {
    known: HashMap<Vec<u32>, Number>,
    /// How many parts of each depth there are, and how many in each part.
    on_depth: BTreeMap<usize, u32>,
    in_parent: HashMap<Vec<u32>, u32>,
}

impl Numbering {
    fn of(&mut self, path: &[u32]) -> Number {
        if let Some(&number) = self.known.get(path) {
            return number;
        }
        let next = |count: &mut u32| {
            *count += 1;
            *count - 1
        };
        let machine = next(self.on_depth.entry(path.len()).or_default());
        let parent = next(self.in_parent.entry(path[..path.len() - 1].to_vec()).or_default());
        self.known.insert(path.to_vec(), Number { machine, parent });
        Number { machine, parent }
    }
}

/// Returns a number for the last-level cache of each CPU, the same for those that share it: by sysfs, or where that is silent
/// and on a made-up machine by how many share it, who are then neighbours. Without a known cache it is the core's own.
fn cache_names(topology: &Topology) -> HashMap<u32, u32> {
    let root = Path::new("/sys/devices/system/cpu");
    let mut caches = HashMap::new();
    let mut first_in_package = HashMap::new();
    for (index, cpu) in (0_u32..).zip(nested(topology)) {
        let id = cpu.os_index.0;
        let start = *first_in_package.entry(cpu.package).or_insert(index);
        let by_count = || match cpu.l3.or(cpu.l2) {
            Some(cache) => start + (index - start) / cache.sharers.max(1),
            None => cpu.core,
        };
        let by_sysfs = (!topology.is_simulated()).then(|| first_sharer(root, id)).flatten();
        caches.insert(id, by_sysfs.unwrap_or_else(by_count));
    }
    caches
}

/// Returns the first CPU that shares a CPU's last-level cache, by the files below `root`.
fn first_sharer(root: &Path, cpu: u32) -> Option<u32> {
    let read = |index: usize, file: &str| {
        std::fs::read_to_string(root.join(format!("cpu{cpu}/cache/index{index}/{file}"))).ok()
    };
    let levels = (0..).map_while(|index| Some((read(index, "level")?.trim().parse::<u32>().ok()?, index)));
    // A level of its own kind of instructions is never the last one.
    let (_, last) = levels.max()?;
    parse_list(&read(last, "shared_cpu_list")?).into_iter().min().and_then(|cpu| u32::try_from(cpu).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(placement: Placement, machine: &str) -> Vec<usize> {
        let topology = Topology::synthetic(machine).unwrap();
        placement.order(&topology).into_iter().map(|cpu| cpu.id).collect()
    }

    #[test]
    fn each_placement_fills_the_part_that_it_is_named_after() {
        // Two packages of two nodes, each with two caches of two cores of two threads: CPU numbers count along.
        let machine = "pack:2 node:2 l3:2 core:2 pu:2";
        let first = |placement| order(placement, machine)[..8].to_vec();
        assert_eq!(first(Placement::Core), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(first(Placement::Cache), [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(first(Placement::Node), [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(first(Placement::Package), [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(first(Placement::Spread), [0, 16, 8, 24, 4, 20, 12, 28]);
    }

    #[test]
    fn the_next_part_follows_when_one_is_full() {
        let machine = "pack:2 node:2 l3:2 core:2 pu:2";
        assert_eq!(order(Placement::Node, machine)[8..12], [8, 10, 12, 14]);
        assert_eq!(order(Placement::Package, machine)[8..10], [1, 3]);
        assert_eq!(order(Placement::Package, machine)[16], 16);
        // Second threads of cores come when every core has one.
        assert_eq!(order(Placement::Spread, machine)[16..18], [1, 17]);
    }

    #[test]
    fn every_order_has_every_cpu_once() {
        for machine in
            ["pu:1", "pu:3", "node:3 core:2 pu:1", "pack:2 node:1 l3:3 core:5 pu:2", "l2:4 core:2 pu:2"]
        {
            let count = Topology::synthetic(machine).unwrap().cpus().len();
            for placement in Placement::value_variants() {
                let mut cpus = order(*placement, machine);
                cpus.sort_unstable();
                assert!(cpus.into_iter().eq(0..count), "{machine}, {}", placement.name());
            }
        }
    }

    #[test]
    fn this_machine_is_not_simulated_and_offers_what_is_allowed() {
        let cpus = Placement::Spread.cpus().unwrap();
        assert!(!cpus.is_simulated());
        assert_eq!(cpus.count(), Cpus::allowed().unwrap().count());
    }

    #[test]
    fn the_last_cache_is_found_in_sysfs() {
        let root = std::env::temp_dir().join(format!("gfp-caches-{}", std::process::id()));
        for (index, level, sharers) in [(0, "1", "6-7"), (1, "1", "6-7"), (2, "3", "4-7"), (3, "2", "6-7")] {
            let directory = root.join(format!("cpu6/cache/index{index}"));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("level"), format!("{level}\n")).unwrap();
            std::fs::write(directory.join("shared_cpu_list"), format!("{sharers}\n")).unwrap();
        }
        let found = (first_sharer(&root, 6), first_sharer(&root, 0));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, (Some(4), None));
    }
}
