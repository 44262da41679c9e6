//! What a request that failed says of the memory there is: the kernel's Mem-Info.

use core::fmt;

use crate::{
    frame::FRAME_BYTES,
    gfp::{MigrateType, NR_ZONE_TYPES, ZoneType},
    zone::watermark::Watermarks,
};

/// The memory of an allocator, as the kernel prints it when a request fails (`show_mem`); in frames unless noted.
///
/// Rows of what an arena has not, as page cache and hugetlb pages, are left out.
///
/// ```
/// let allocator = gfp::Allocator::builder(64 << 20).dma(0).build()?;
/// let info = allocator.mem_info();
/// assert_eq!(info.zones[0].free, 1 << 14);
/// let text = info.to_string();
/// assert!(text.starts_with("Mem-Info:\n"));
/// assert!(text.contains("\nNode 0 DMA32 free:65536kB boost:0kB min:"));
/// assert!(text.ends_with("\n16384 pages RAM\n0 pages HighMem/MovableOnly\n0 pages reserved\n0 pages cma reserved\n"));
/// # Ok::<(), gfp::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemInfo {
    /// What is known of each node.
    pub nodes: Vec<MemInfoNode>,
    /// What is known of each zone.
    pub zones: Vec<MemInfoZone>,
}

/// A node in [`MemInfo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemInfoNode {
    /// The node.
    pub node: u32,
    /// Frames that caches offer to give back.
    pub reclaimable: u64,
}

/// A zone in [`MemInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemInfoZone {
    /// The zone's NUMA node.
    pub node: u32,
    /// The zone's type, which is its name.
    pub zone: ZoneType,
    /// Free frames.
    pub free: u64,
    /// Watermarks without boost, and the boost.
    pub marks: Watermarks,
    /// Frames in highatomic pageblocks.
    pub reserved_highatomic: u64,
    /// Free frames in highatomic pageblocks.
    pub free_highatomic: u64,
    /// Frames from its first to its last, those that are offline included.
    pub spanned: u64,
    /// Frames that it hands out.
    pub managed: u64,
    /// Free frames in threads' caches; `None` where the request might not wait for them.
    pub free_pcp: Option<u64>,
    /// Free frames in CMA pageblocks.
    pub free_cma: u64,
    /// Frames in CMA pageblocks.
    pub cma: u64,
    /// What is kept from requests that could use a higher zone, by their highest zone.
    pub lowmem_reserve: [u64; NR_ZONE_TYPES],
    /// For each order, free blocks and the types that they are of.
    pub orders: Vec<FreeBlocks>,
}

/// The free blocks of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeBlocks {
    /// How many there are.
    pub blocks: u64,
    /// The types of which there is one.
    pub types: Vec<MigrateType>,
}

const FRAME_KIB: u64 = FRAME_BYTES as u64 / 1024;

/// Returns the letter of a type.
const fn letter(kind: MigrateType) -> char {
    match kind {
        MigrateType::Unmovable => 'U',
        MigrateType::Movable => 'M',
        MigrateType::Reclaimable => 'E',
        MigrateType::HighAtomic => 'H',
        MigrateType::Cma => 'C',
        MigrateType::Isolate => 'I',
    }
}

impl fmt::Display for MemInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&MemInfoZone) -> u64| self.zones.iter().map(of).sum::<u64>();
        writeln!(f, "Mem-Info:")?;
        let reclaimable: u64 = self.nodes.iter().map(|node| node.reclaimable).sum();
        writeln!(f, "slab_reclaimable:{reclaimable}")?;
        let free_pcp = sum(|zone| zone.free_pcp.unwrap_or(0));
        writeln!(
            f,
            " free:{} free_pcp:{free_pcp} free_cma:{}",
            sum(|zone| zone.free),
            sum(|zone| zone.free_cma)
        )?;
        for MemInfoNode { node, reclaimable } in &self.nodes {
            let nothing = if *reclaimable == 0 { "yes" } else { "no" };
            let reclaimable = reclaimable * FRAME_KIB;
            writeln!(f, "Node {node} slab_reclaimable:{reclaimable}kB all_unreclaimable? {nothing}")?;
        }
        for zone in &self.zones {
            write_zone(f, zone)?;
        }
        for zone in &self.zones {
            write_blocks(f, zone)?;
        }
        let not_low = |zone: &&MemInfoZone| !zone.zone.is_lowmem();
        let high: u64 = self.zones.iter().filter(not_low).map(|zone| zone.spanned).sum();
        writeln!(f, "{} pages RAM", sum(|zone| zone.spanned))?;
        writeln!(f, "{high} pages HighMem/MovableOnly")?;
        writeln!(f, "{} pages reserved", sum(|zone| zone.spanned - zone.managed))?;
        writeln!(f, "{} pages cma reserved", sum(|zone| zone.cma))
    }
}

/// Writes what a zone has, and what it keeps back.
fn write_zone(f: &mut fmt::Formatter<'_>, zone: &MemInfoZone) -> fmt::Result {
    write!(f, "Node {} {}", zone.node, zone.zone)?;
    let kib = |frames: u64| frames * FRAME_KIB;
    let Watermarks { min, low, high, boost, .. } = zone.marks;
    write!(f, " free:{}kB boost:{}kB", kib(zone.free), kib(boost))?;
    write!(f, " min:{}kB low:{}kB high:{}kB", kib(min + boost), kib(low + boost), kib(high + boost))?;
    write!(f, " reserved_highatomic:{}KB", kib(zone.reserved_highatomic))?;
    write!(f, " free_highatomic:{}KB", kib(zone.free_highatomic))?;
    write!(f, " present:{0}kB managed:{0}kB", kib(zone.managed))?;
    if let Some(free_pcp) = zone.free_pcp {
        write!(f, " free_pcp:{}kB", kib(free_pcp))?;
    }
    writeln!(f, " free_cma:{}kB", kib(zone.free_cma))?;
    f.write_str("lowmem_reserve[]:")?;
    zone.lowmem_reserve.iter().try_for_each(|frames| write!(f, " {frames}"))?;
    writeln!(f)
}

/// Writes a zone's free blocks by order, with the letters of their types.
fn write_blocks(f: &mut fmt::Formatter<'_>, zone: &MemInfoZone) -> fmt::Result {
    write!(f, "Node {} {}: ", zone.node, zone.zone)?;
    let mut total = 0;
    for (order, FreeBlocks { blocks, types }) in zone.orders.iter().enumerate() {
        let kib = FRAME_KIB << order;
        write!(f, "{blocks}*{kib}kB ")?;
        total += blocks * kib;
        if *blocks > 0 {
            f.write_str("(")?;
            types.iter().try_for_each(|&kind| write!(f, "{}", letter(kind)))?;
            f.write_str(") ")?;
        }
    }
    writeln!(f, "= {total}kB")
}

/// Returns a zone with a number in every field.
#[cfg(test)]
pub(super) fn sample() -> MemInfoZone {
    let one = |types: &[MigrateType], blocks| FreeBlocks { blocks, types: types.to_vec() };
    MemInfoZone {
        node: 0,
        zone: ZoneType::Normal,
        free: 21,
        marks: Watermarks { min: 8, low: 10, high: 12, promo: 14, boost: 2 },
        reserved_highatomic: 512,
        free_highatomic: 1,
        spanned: 2048,
        managed: 1024,
        free_pcp: Some(3),
        free_cma: 0,
        cma: 0,
        lowmem_reserve: [0, 0, 0, 7, 9],
        orders: vec![
            one(&[MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable], 5),
            one(&[], 0),
            one(&[MigrateType::HighAtomic, MigrateType::Cma, MigrateType::Isolate], 4),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_the_kernels() {
        let zone = sample();
        let nodes = vec![MemInfoNode { node: 0, reclaimable: 6 }, MemInfoNode { node: 1, reclaimable: 0 }];
        let unseen = MemInfoZone { node: 1, zone: ZoneType::Movable, free_pcp: None, ..zone.clone() };
        let text = MemInfo { nodes, zones: vec![zone, unseen] }.to_string();
        assert_eq!(
            text,
            "Mem-Info:\n\
             slab_reclaimable:6\n \
             free:42 free_pcp:3 free_cma:0\n\
             Node 0 slab_reclaimable:24kB all_unreclaimable? no\n\
             Node 1 slab_reclaimable:0kB all_unreclaimable? yes\n\
             Node 0 Normal free:84kB boost:8kB min:40kB low:48kB high:56kB reserved_highatomic:2048KB \
             free_highatomic:4KB present:4096kB managed:4096kB free_pcp:12kB free_cma:0kB\n\
             lowmem_reserve[]: 0 0 0 7 9\n\
             Node 1 Movable free:84kB boost:8kB min:40kB low:48kB high:56kB reserved_highatomic:2048KB \
             free_highatomic:4KB present:4096kB managed:4096kB free_cma:0kB\n\
             lowmem_reserve[]: 0 0 0 7 9\n\
             Node 0 Normal: 5*4kB (UME) 0*8kB 4*16kB (HCI) = 84kB\n\
             Node 1 Movable: 5*4kB (UME) 0*8kB 4*16kB (HCI) = 84kB\n\
             4096 pages RAM\n\
             2048 pages HighMem/MovableOnly\n\
             2048 pages reserved\n\
             0 pages cma reserved\n"
        );
    }
}
