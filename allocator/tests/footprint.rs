//! What an arena costs before and while it is used.

use std::fs;

use gfp::{
    Allocator, Gfp, Maintain,
    sync::{Mutex, MutexGuard},
};

/// Resident memory is the whole process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

/// Returns the bytes that are resident, by the kernel's quick count.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize = statm.split(' ').nth(1).expect("two fields").parse().expect("a number");
    pages << 12
}

/// Returns the bytes of resident memory that belong to no file, counted page by page: the quick count is off by some
/// dozens of pages a CPU.
fn anonymous() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux 4.14 or later");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).expect("a line of that name");
    let kbytes: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kbytes << 10
}

#[test]
fn a_tebibyte_costs_16_mib_beside_its_dma_zone() {
    const DMA: usize = 16 << 20;
    let _alone = alone();
    // The topology, and whatever else is read once.
    drop(Allocator::builder(64 << 20).build().expect("64 MiB"));
    let before = resident();
    let allocator = Allocator::builder(1 << 40).build().expect("address space");
    let pages = allocator.alloc_page(Gfp::KERNEL).expect("all is free");
    // What is known of half a million pageblocks is not read from each.
    let zones = allocator.pagetypeinfo().zones;
    let pageblocks = zones.iter().flat_map(|zone| &zone.types).map(|kind| kind.pageblocks).sum::<u64>();
    assert_eq!(pageblocks, 1 << 19);
    let grown = resident().saturating_sub(before);
    assert!(grown < DMA + (16 << 20), "{grown} bytes");
    assert_eq!(allocator.arena().frames(), 1 << 28);
    drop(pages);
    assert!(allocator.conservation().holds());
}

#[test]
fn a_frame_in_use_costs_four_and_a_half_bytes() {
    const FRAMES: usize = 1 << 18;
    let _alone = alone();
    let allocator = Allocator::builder(FRAMES << 12)
        .dma(0)
        .min_free_kbytes(0)
        .maintain(Maintain::ByHand)
        .build()
        .expect("1 GiB of address space");
    // The thread's cache with the memory of its list, which is the thread's and not the frames'.
    let warm: Vec<_> = (0..2000).map(|_| allocator.alloc_page(Gfp::KERNEL).expect("all is free")).collect();
    drop(warm);
    allocator.drain_all();
    let before = anonymous();
    let mut taken = 0;
    while let Ok(page) = allocator.alloc_page(Gfp::KERNEL) {
        // Kept in no list: that would be counted too.
        let _ = page.into_raw_parts();
        taken += 1;
    }
    assert_eq!(taken, FRAMES);
    let grown = anonymous().saturating_sub(before);
    // The share of the 2000 frames was there before, and the harness may give some memory back meanwhile.
    let least = FRAMES * 3;
    let most = FRAMES * 9 / 2;
    assert!((least..=most).contains(&grown), "{grown} bytes, {:.2} a frame", grown as f64 / FRAMES as f64);
}
