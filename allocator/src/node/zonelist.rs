//! The order in which a node's requests try zones.

use crate::{
    frame::ZoneNumber,
    gfp::{NR_ZONE_TYPES, ZoneType},
    zone::ZoneSpan,
};

/// The zones of a node, highest type first (`struct zonelist`).
#[derive(Clone, Debug)]
pub struct Zonelist {
    zones: Box<[(ZoneType, ZoneNumber)]>,
}

impl Zonelist {
    /// Orders the populated zones of one node: MOVABLE, HIGHMEM, NORMAL, DMA32, DMA.
    pub fn new(zones: &[ZoneSpan]) -> Self {
        let mut zones: Box<[_]> = zones.iter().map(|zone| (zone.kind, zone.number)).collect();
        zones.sort_by_key(|&(kind, _)| core::cmp::Reverse(kind));
        Self { zones }
    }

    /// Returns the zones that a request may use, from its highest zone downward
    /// (`for_each_zone_zonelist_nodemask`).
    ///
    /// The MOVABLE zone is left out: it holds only blocks behind movable handles, and a request for a plain block
    /// has none.
    #[doc(alias = "for_next_zone_zonelist_nodemask")]
    #[doc(alias = "for_each_zone_zonelist_nodemask")]
    pub fn zones(&self, highest: ZoneType) -> impl Iterator<Item = (ZoneType, ZoneNumber)> + '_ {
        self.zones.iter().copied().filter(move |&(kind, _)| kind <= highest && kind != ZoneType::Movable)
    }

    /// Returns, for each highest zone, the zone to try first (`first_zones_zonelist`).
    #[doc(alias = "first_zones_zonelist")]
    pub fn preferred(&self) -> [Option<ZoneNumber>; NR_ZONE_TYPES] {
        ZoneType::ALL.map(|highest| self.zones(highest).next().map(|(_, number)| number))
    }

    /// Tells whether a zone of this type has memory.
    pub fn is_populated(&self, kind: ZoneType) -> bool {
        self.zones.iter().any(|&(other, _)| other == kind)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::node::{ZonePlan, zone_spans};

    #[test]
    fn a_request_starts_at_its_highest_zone_and_goes_down() {
        let plan = ZonePlan { frames: 4 << 20, dma_frames: 4096, highmem_frames: 1024, movable_frames: 2048 };
        let list = Zonelist::new(&zone_spans(&plan).expect("fits"));
        let kinds = |highest| list.zones(highest).map(|(kind, _)| kind).collect::<Vec<_>>();
        use ZoneType::{Dma, Dma32, HighMem, Movable, Normal};
        assert_eq!(kinds(Movable), [HighMem, Normal, Dma32, Dma]);
        assert_eq!(kinds(Normal), [Normal, Dma32, Dma]);
        assert_eq!(kinds(Dma32), [Dma32, Dma]);
        assert_eq!(kinds(Dma), [Dma]);
        assert_eq!(list.preferred()[Movable.index()], list.preferred()[HighMem.index()]);
    }

    #[test]
    fn a_zone_that_is_not_configured_falls_to_the_next_lower_one() {
        let plan = ZonePlan { frames: 1 << 16, dma_frames: 4096, highmem_frames: 0, movable_frames: 0 };
        let list = Zonelist::new(&zone_spans(&plan).expect("fits"));
        let first = list.zones(ZoneType::Movable).next().expect("there is memory");
        assert_eq!(first.0, ZoneType::Dma32);
        assert!(!list.is_populated(ZoneType::Normal));
    }
}
