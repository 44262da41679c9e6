//! The machines that programs run on.

use std::time::Duration;

use gfp::{
    Allocator, Builder, DebugModes, Maintain, Pfn, Spread,
    platform::{Binding, NodeId, Topology},
    zone::Grouping,
};

const MIB: usize = 1 << 20;

/// Nodes of every machine here.
pub(crate) const NODES: usize = 3;

/// How many frames may be dirty.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DirtyLimit {
    /// So many hundredths of what could be.
    Percent(u64),
    /// So many bytes of all nodes together.
    Bytes(u64),
}

/// A machine: how an allocator is built for a program.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What programs call it.
    pub name: &'static str,
    /// How many times as long as on the first a program takes on it, roughly.
    pub cost: u32,
    builder: fn() -> Builder,
    /// Which MiB are taken offline at first: from, to.
    hole: (u32, u32),
    /// How many frames may be dirty, as the builder was told.
    pub(crate) dirty_limit: DirtyLimit,
}

/// All machines.
pub const SHAPES: [Shape; 10] = [
    Shape::new("area", || nodes([12 * MIB; NODES]).dma(0).cma("area", 4 * MIB)),
    Shape::new("dma", || nodes([20 * MIB; NODES]).dma(8 * MIB)),
    // The last node is offline at first.
    Shape::new("growing", || {
        nodes_of(32 * MIB, [16 * MIB; NODES]).maximum(48 * MIB).dma(0).cma("area", 6 * MIB)
    }),
    // Zones of all kinds, NORMAL among them, which begins at 4 GiB: most of what is below is not there.
    Shape {
        hole: (20, 4088),
        cost: 2,
        ..Shape::new("zones", || {
            nodes([4088 * MIB, 20 * MIB, 24 * MIB]).dma(8 * MIB).highmem(12 * MIB).movable(8 * MIB)
        })
    },
    // Marks and reserves that requests meet.
    Shape::new("marks", || {
        nodes([16 * MIB; NODES])
            .dma(4 * MIB)
            .highmem(8 * MIB)
            .min_free_kbytes(1024)
            .watermark_scale_factor(300)
    }),
    // Too little for anybody, and hardly anything may be dirty.
    Shape {
        dirty_limit: DirtyLimit::Bytes(MIB as u64 + 1),
        ..Shape::new("short", || {
            nodes([6 * MIB; NODES]).dma(0).highmem(4 * MIB).vm_dirty_bytes(MIB as u64 + 1)
        })
    },
    // A zone of which a hundredth is more than a pageblock; three quarters of it are kept for those who may not wait.
    Shape::new("reserve", || {
        let builder = nodes([240 * MIB, 4 * MIB, 4 * MIB]).dma(0).min_free_kbytes(185 << 10);
        builder.grouping(Grouping::ByMobility)
    }),
    // What is free goes back to the system, as long as it is more than 64 MiB.
    Shape {
        dirty_limit: DirtyLimit::Percent(5),
        ..Shape::new("reporting", || {
            nodes([96 * MIB, 4 * MIB, 8 * MIB])
                .dma(0)
                .highmem(6 * MIB)
                .report_free(Duration::from_millis(1))
                .vm_dirty_ratio(5)
        })
    },
    // Every block is looked at on its way.
    Shape {
        cost: 2,
        ..Shape::new("checked", || {
            let modes = DebugModes::all() - DebugModes::GUARD;
            nodes([12 * MIB; NODES]).dma(0).cma("area", 4 * MIB).debug(modes)
        })
    },
    // And nobody can touch what is free, at a system call a block.
    Shape {
        cost: 5,
        ..Shape::new("guarded", || {
            nodes([12 * MIB; NODES])
                .dma(0)
                .cma("area", 4 * MIB)
                .debug(DebugModes::GUARD | DebugModes::CHECK_PAGES)
        })
    },
];

impl Shape {
    const fn new(name: &'static str, builder: fn() -> Builder) -> Self {
        Self { name, cost: 1, builder, hole: (0, 0), dirty_limit: DirtyLimit::Percent(20) }
    }

    /// Returns the machine of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SHAPES.into_iter().find(|shape| shape.name == name)
    }

    /// Builds its allocator.
    ///
    /// # Panics
    /// When the system refuses the memory.
    #[must_use]
    pub fn build(self) -> Allocator {
        let allocator = (self.builder)().build().expect("address space");
        let pfn = |mib| Pfn::new(mib << 8);
        if self.hole.0 < self.hole.1 {
            allocator.offline_pages(pfn(self.hole.0)..pfn(self.hole.1)).expect("nobody has a frame yet");
        }
        allocator
    }
}

fn nodes(bytes: [usize; NODES]) -> Builder {
    nodes_of(bytes.iter().sum(), bytes)
}

fn nodes_of(online: usize, bytes: [usize; NODES]) -> Builder {
    let topology = Topology::synthetic("numa:3 core:2 pu:1").expect("a description of a machine");
    let parts = (0..).zip(bytes).map(|(node, bytes)| (NodeId(node), bytes)).collect();
    Allocator::builder(online)
        .topology(topology)
        .nodes(Spread::Nodes(parts))
        .bind(Binding::Preferred)
        .min_free_kbytes(0)
        .watermark_scale_factor(1)
        .maintain(Maintain::ByHand)
}
