//! The allocator's state as data, and in the kernel's text formats for the tools that already read them.
//!
//! Whoever collects the numbers fills the structures; their `Display` is what the kernel's file would show for the arena,
//! line for line as Linux 7.x writes it, and with the feature `serde` they can be written and read in any other format.
//!
//! | structure | file |
//! |---|---|
//! | [`VmStat`] | `/proc/vmstat` |
//! | [`Buddyinfo`] | `/proc/buddyinfo` |
//! | [`Zoneinfo`] | `/proc/zoneinfo` |
//! | [`Pagetypeinfo`] | `/proc/pagetypeinfo` |
//! | [`UnusableIndex`] | `/sys/kernel/debug/extfrag/unusable_index` |
//! | [`ExtfragIndex`] | `/sys/kernel/debug/extfrag/extfrag_index` |
//! | [`MemInfo`] | none: the kernel's log, when a request fails |
//! | [`Conservation`] | none: the kernel never counts what is out |
#![deny(unsafe_code)]

mod buddyinfo;
mod conservation;
mod extfrag;
mod mem_info;
mod pagetypeinfo;
mod vmstat;
mod zone_stat;
mod zoneinfo;

#[cfg(test)]
pub(crate) mod proc_text;
#[cfg(all(test, feature = "serde"))]
mod serde_tests;

pub use buddyinfo::{Buddyinfo, BuddyinfoZone};
pub use conservation::{Conservation, ConservationZone};
pub use extfrag::{
    ContigPageInfo, ExtfragIndex, UnusableIndex, ZoneIndices, fragmentation_index, unusable_free_index,
};
pub use mem_info::{FreeBlocks, MemInfo, MemInfoNode, MemInfoZone};
pub use pagetypeinfo::{MigrateTypeStat, Pagetypeinfo, PagetypeinfoZone};
pub use vmstat::VmStat;
pub use zone_stat::{NodeStat, NumaStat, PagesetStat, ZoneStat};
pub use zoneinfo::Zoneinfo;
