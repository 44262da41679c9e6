//! Every structure comes back from JSON as it was.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    proc_text::{sample, sample_node},
    *,
};
use crate::gfp::{MigrateType, ZoneType};

/// Writes and reads back, and returns what was written.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(
    value: &T,
) -> serde_json::Value {
    let json = serde_json::to_string(value).expect("plain data");
    assert_eq!(&serde_json::from_str::<T>(&json).expect("what was written"), value);
    serde_json::from_str(&json).expect("JSON")
}

#[test]
fn zones_and_migrate_types_have_the_kernels_names() {
    for zone in ZoneType::ALL {
        assert_eq!(round_trip(&zone), zone.name());
    }
    for kind in MigrateType::ALL {
        assert_eq!(round_trip(&kind), kind.name());
    }
}

#[test]
fn structures_come_back_as_they_were() {
    let nodes = vec![sample_node()];
    let json = round_trip(&Zoneinfo { nodes, zones: vec![sample()] });
    assert_eq!(json["zones"][0]["pagesets"][0]["high_max"], 26_624);
    assert_eq!(
        (&json["zones"][0]["marks"]["low"], &json["nodes"][0]["unevictable"]),
        (&7480.into(), &4154.into())
    );

    let mut vmstat = VmStat { pgalloc: [1, 2, 3, 4, 5], pgfree: 14, ..VmStat::default() };
    vmstat.add_zone(&sample());
    assert_eq!(round_trip(&vmstat)["pgalloc"][2], 3);

    let zone = BuddyinfoZone { node: 1, zone: ZoneType::Dma32, nr_free: vec![4, 0, 2] };
    let buddyinfo = Buddyinfo { zones: vec![zone] };
    assert_eq!(round_trip(&buddyinfo)["zones"][0]["zone"], "DMA32");
    assert_eq!(round_trip(&buddyinfo.unusable_index())["zones"][0]["thousandths"][2], 333);
    assert_eq!(round_trip(&buddyinfo.extfrag_index())["zones"][0]["thousandths"][0], -1000);

    let types = vec![MigrateTypeStat { migratetype: MigrateType::Cma, nr_free: vec![1], pageblocks: 8 }];
    let zones = vec![PagetypeinfoZone { node: 0, zone: ZoneType::Normal, types }];
    let json = round_trip(&Pagetypeinfo { pageblock_order: 9, zones });
    assert_eq!(json["zones"][0]["types"][0]["migratetype"], "CMA");

    let nodes = vec![MemInfoNode { node: 1, reclaimable: 12 }];
    let json = round_trip(&MemInfo { nodes, zones: vec![mem_info::sample()] });
    assert_eq!(json["zones"][0]["orders"][0]["types"][0], "Unmovable");

    let zone = ConservationZone {
        node: 0,
        zone: ZoneType::Dma,
        free: 1,
        cached: 2,
        allocated: 3,
        isolated: 4,
        managed: 10,
    };
    assert_eq!(round_trip(&Conservation { zones: vec![zone] })["zones"][0]["managed"], 10);
}
