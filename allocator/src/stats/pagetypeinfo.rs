//! `/proc/pagetypeinfo`: free blocks and pageblocks by migrate type.

use core::fmt;

use crate::gfp::{MigrateType, ZoneType};

/// Which types the free blocks of every populated zone have, and how many of its pageblocks are of each type.
///
/// The kernel stops counting at 100,000 blocks of an order and says so with a `>`; here all are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pagetypeinfo {
    /// log2 of the frames of a pageblock.
    pub pageblock_order: u8,
    /// The zones that have memory; those of a node are adjacent.
    pub zones: Vec<PagetypeinfoZone>,
}

/// One zone by migrate type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PagetypeinfoZone {
    /// The zone's NUMA node.
    pub node: u32,
    /// The zone's type, which is its name.
    pub zone: ZoneType,
    /// Each migrate type; the same ones in every zone.
    pub types: Vec<MigrateTypeStat>,
}

/// What a zone has of one migrate type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MigrateTypeStat {
    /// The type.
    pub migratetype: MigrateType,
    /// Its free blocks in the zone's free areas, by order.
    pub nr_free: Vec<u64>,
    /// Pageblocks of the type; one that the zone has only a part of counts.
    pub pageblocks: u64,
}

impl fmt::Display for Pagetypeinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zones in self.zones.chunk_by(|one, next| one.node == next.node) {
            writeln!(f, "Page block order: {}", self.pageblock_order)?;
            writeln!(f, "Pages per block:  {}\n", 1u64 << self.pageblock_order)?;
            write_free(f, zones)?;
            write_pageblocks(f, zones)?;
        }
        Ok(())
    }
}

/// Writes the free blocks of a node's zones (`pagetypeinfo_showfree`).
fn write_free(f: &mut fmt::Formatter<'_>, zones: &[PagetypeinfoZone]) -> fmt::Result {
    write!(f, "{:<43} ", "Free pages count per migrate type at order")?;
    let orders = zones.iter().flat_map(|zone| &zone.types).map(|kind| kind.nr_free.len()).max();
    for order in 0..orders.unwrap_or(0) {
        write!(f, "{order:>6} ")?;
    }
    f.write_str("\n")?;
    for PagetypeinfoZone { node, zone, types } in zones {
        for MigrateTypeStat { migratetype, nr_free, .. } in types {
            write!(f, "Node {node:>4}, zone {zone:>8}, type {migratetype:>12} ")?;
            for blocks in nr_free {
                write!(f, "{blocks:>6} ")?;
            }
            f.write_str("\n")?;
        }
    }
    Ok(())
}

/// Writes the pageblocks of a node's zones (`pagetypeinfo_showblockcount`).
fn write_pageblocks(f: &mut fmt::Formatter<'_>, zones: &[PagetypeinfoZone]) -> fmt::Result {
    write!(f, "\n{:<23}", "Number of blocks type ")?;
    for MigrateTypeStat { migratetype, .. } in zones.first().map_or(&[][..], |zone| &zone.types) {
        write!(f, "{migratetype:>12} ")?;
    }
    f.write_str("\n")?;
    for PagetypeinfoZone { node, zone, types } in zones {
        write!(f, "Node {node}, zone {zone:>8} ")?;
        for MigrateTypeStat { pageblocks, .. } in types {
            write!(f, "{pageblocks:>12} ")?;
        }
        f.write_str("\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::proc_text;
    use super::*;

    fn zone(node: u32, zone: ZoneType, first: u64) -> PagetypeinfoZone {
        let types = [MigrateType::Unmovable, MigrateType::HighAtomic, MigrateType::Cma];
        let types = (first..).zip(types).map(|(number, migratetype)| MigrateTypeStat {
            migratetype,
            nr_free: vec![number, 1000 * number, 1_234_567],
            pageblocks: 100 * number,
        });
        PagetypeinfoZone { node, zone, types: types.collect() }
    }

    fn two_nodes() -> Pagetypeinfo {
        let zones =
            vec![zone(0, ZoneType::Dma32, 1), zone(0, ZoneType::Normal, 4), zone(1, ZoneType::Normal, 7)];
        Pagetypeinfo { pageblock_order: 9, zones }
    }

    const EXPECTED: &str = "\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2\x20
Node    0, zone    DMA32, type    Unmovable      1   1000 1234567\x20
Node    0, zone    DMA32, type   HighAtomic      2   2000 1234567\x20
Node    0, zone    DMA32, type          CMA      3   3000 1234567\x20
Node    0, zone   Normal, type    Unmovable      4   4000 1234567\x20
Node    0, zone   Normal, type   HighAtomic      5   5000 1234567\x20
Node    0, zone   Normal, type          CMA      6   6000 1234567\x20

Number of blocks type     Unmovable   HighAtomic          CMA\x20
Node 0, zone    DMA32          100          200          300\x20
Node 0, zone   Normal          400          500          600\x20
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2\x20
Node    1, zone   Normal, type    Unmovable      7   7000 1234567\x20
Node    1, zone   Normal, type   HighAtomic      8   8000 1234567\x20
Node    1, zone   Normal, type          CMA      9   9000 1234567\x20

Number of blocks type     Unmovable   HighAtomic          CMA\x20
Node 1, zone   Normal          700          800          900\x20
";

    #[test]
    fn every_node_has_a_head_and_two_tables() {
        assert_eq!(two_nodes().to_string(), EXPECTED);
    }

    #[test]
    fn another_parser_reads_back_what_was_written() {
        assert_eq!(proc_text::parse_pagetypeinfo(EXPECTED), Some(two_nodes()));
    }

    #[test]
    fn the_running_kernels_text_is_reproduced() {
        // Only root may read it. A count that was cut is no number, and a kernel with page_owner has a table more.
        let is_like_ours = |text: &String| !text.contains('>') && !text.contains("Number of mixed blocks");
        let text = proc_text::of_this_machine("/proc/pagetypeinfo").filter(is_like_ours);
        let Some(text) = text else { return };
        let read = proc_text::parse_pagetypeinfo(&text).expect("the reader knows the format");
        assert!(!read.zones.is_empty());
        assert_eq!(read.to_string(), text);
    }
}
