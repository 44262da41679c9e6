//! The allowed nodes: changed while requests run and while others change them.

use gfp::frame::Nid;
use gfp::node::{Cpuset, NodeMask};
use gfp::sync::atomic::{AtomicBool, Ordering};
use gfp::sync::{Arc, SeededBug, thread};
use gfp::zone::ZoneState;
use loom_tests::Model;

use crate::zone::small_zone;

const NODES: [Nid; 2] = [Nid::new(0), Nid::new(1)];

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "allowed_nodes_and_a_request",
        property: "while some allowed node has memory at every moment, no request fails for want of one",
        bound: "one changer that moves memory and permission to another node and back; one request over both",
        preemptions: None,
        program: allowed_nodes_and_a_request,
        bugs: &[
            (SeededBug::CpusetSkipsRetry, "memory was on an allowed node all the time"),
            (SeededBug::CpusetUncounted, "memory was on an allowed node all the time"),
        ],
    },
    Model {
        name: "allowed_nodes_and_two_changers",
        property: "what caches serve at once in the end is what the last change allows",
        bound: "two threads that each change the allowed nodes and tell a zone",
        preemptions: None,
        program: allowed_nodes_and_two_changers,
        bugs: &[(SeededBug::AdmittedAskedEarly, "caches serve what is not allowed, or not what is")],
    },
];

/// Which nodes have memory, and which are allowed.
struct Nodes {
    memory: [AtomicBool; 2],
    cpuset: Cpuset,
}

impl Nodes {
    /// Tries the second node first, as a thread on it does.
    fn request(&self) -> Result<Nid, ()> {
        let has_memory = |node: Nid| self.memory[node.index()].load(Ordering::Acquire);
        loop {
            let mems = self.cpuset.read_mems_allowed_begin();
            let is_found = |&node: &Nid| mems.allowed().contains(node) && has_memory(node);
            let found = NODES.into_iter().rev().find(is_found);
            if found.is_some() || !self.cpuset.read_mems_allowed_retry(mems) {
                return found.ok_or(());
            }
        }
    }
}

fn allowed_nodes_and_a_request() {
    let nodes = Arc::new(Nodes {
        memory: [AtomicBool::new(true), AtomicBool::new(false)],
        cpuset: Cpuset::default(),
    });
    nodes.cpuset.set(NodeMask::of(NODES[0]));
    let changer = thread::spawn({
        let nodes = Arc::clone(&nodes);
        move || {
            nodes.memory[1].store(true, Ordering::Release);
            nodes.cpuset.set(NodeMask::of(NODES[1]));
            nodes.memory[0].store(false, Ordering::Release);
            nodes.memory[0].store(true, Ordering::Release);
            nodes.cpuset.set(NodeMask::of(NODES[0]));
        }
    });
    assert!(nodes.request().is_ok(), "memory was on an allowed node all the time");
    changer.join().unwrap();
    assert_eq!(nodes.request(), Ok(NODES[0]), "the changes are over");
}

fn allowed_nodes_and_two_changers() {
    let shared = Arc::new((Cpuset::default(), small_zone()));
    let change = |shared: &(Cpuset, _), allowed| {
        let (cpuset, zone): &(Cpuset, gfp::zone::Zone) = shared;
        cpuset.set(allowed);
        zone.set_admitted(|| cpuset.cpuset_zone_allowed(NODES[0]));
    };
    let other = thread::spawn({
        let shared = Arc::clone(&shared);
        move || change(&shared, NodeMask::of(NODES[1]))
    });
    change(&shared, NodeMask::of(NODES[0]));
    other.join().unwrap();
    let (cpuset, zone) = &*shared;
    let serves = zone.state() != ZoneState::default();
    assert_eq!(
        serves,
        cpuset.cpuset_zone_allowed(NODES[0]),
        "caches serve what is not allowed, or not what is"
    );
}
