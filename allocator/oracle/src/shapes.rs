//! The machines that programs run on.

use gfp::{
    Allocator, Builder, DebugModes, Maintain, Spread,
    platform::{Binding, NodeId, Topology},
};

use crate::call::NODES;

/// A machine: how an allocator is built for a program.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What programs call it.
    pub name: &'static str,
    builder: fn() -> Builder,
}

impl Shape {
    /// Builds its allocator.
    ///
    /// # Panics
    /// When the system refuses the memory.
    #[must_use]
    pub fn build(self) -> Allocator {
        (self.builder)().build().expect("small")
    }
}

fn nodes(bytes: [usize; NODES]) -> Builder {
    let topology = Topology::synthetic("numa:3 core:2 pu:1").expect("a description of a machine");
    let parts = (0..).zip(bytes).map(|(node, bytes)| (NodeId(node), bytes)).collect();
    Allocator::builder(bytes.iter().sum())
        .topology(topology)
        .nodes(Spread::Nodes(parts))
        .bind(Binding::Preferred)
        .min_free_kbytes(0)
        .watermark_scale_factor(1)
        .maintain(Maintain::ByHand)
}

/// All machines.
pub const SHAPES: [Shape; 4] = [
    Shape { name: "area", builder: || nodes([12 << 20; NODES]).dma(0).cma("area", 4 << 20) },
    Shape { name: "dma", builder: || nodes([20 << 20; NODES]).dma(8 << 20) },
    // The last node is offline at first.
    Shape {
        name: "growing",
        builder: || {
            let topology = Topology::synthetic("numa:3 core:2 pu:1").expect("a description of a machine");
            let parts = (0..).take(NODES).map(|node| (NodeId(node), 16 << 20)).collect();
            Allocator::builder(32 << 20)
                .maximum(48 << 20)
                .topology(topology)
                .nodes(Spread::Nodes(parts))
                .dma(0)
                .min_free_kbytes(0)
                .watermark_scale_factor(1)
                .cma("area", 6 << 20)
                .maintain(Maintain::ByHand)
        },
    },
    // Every block is looked at on its way; but for the guard, which is a system call a frame.
    Shape {
        name: "checked",
        builder: || {
            nodes([12 << 20; NODES]).dma(0).cma("area", 4 << 20).debug(DebugModes::all() - DebugModes::GUARD)
        },
    },
];
