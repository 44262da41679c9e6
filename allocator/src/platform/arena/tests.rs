//! Rules of the arena: limits, laziness, ownership, and what is left behind by a refused call.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::process::{Resource, Rlimit};

use super::super::error::SizeRule;
use super::super::fault::{self, Occurrence};
use super::super::test_process::{isolated, mapped_bytes, open_files, range_of};
use super::*;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const TIB: usize = 1 << 40;

fn build(bytes: usize) -> Arena {
    Arena::new(&ArenaOptions::new(bytes)).expect("this size is possible")
}

fn memfd(bytes: usize) -> ArenaOptions {
    ArenaOptions { source: ArenaSource::Memfd, ..ArenaOptions::new(bytes) }
}

/// Reads the byte at an offset.
fn read(arena: &Arena, offset: usize) -> u8 {
    // SAFETY: the address lies in the arena, which only this test's thread uses.
    unsafe { arena.ptr_at(offset).read_volatile() }
}

/// Writes the byte at an offset.
fn write(arena: &Arena, offset: usize, value: u8) {
    // SAFETY: the address lies in the arena, which only this test's thread uses.
    unsafe { arena.ptr_at(offset).write_volatile(value) };
}

/// Counts the resident pages of a range of the arena.
fn resident_pages(arena: &Arena, offset: usize, pages: usize) -> usize {
    let mut residency = vec![0_u8; pages];
    let start = arena.ptr_at(offset).as_ptr().cast();
    // SAFETY: the range lies in the arena, and the vector has a byte for each of its pages.
    let status = unsafe { libc::mincore(start, pages * PAGE_SIZE, residency.as_mut_ptr()) };
    assert_eq!(status, 0);
    residency.iter().filter(|&&page| page & 1 == 1).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_number_of_frames_up_to_the_limit_is_mapped_whole_and_aligned(
        frames in prop_oneof![1_usize..=1024, 1_usize..=1 << 32, Just(1), Just(1 << 32)],
        source in prop_oneof![Just(ArenaSource::Anonymous), Just(ArenaSource::Memfd)],
    ) {
        let bytes = frames * PAGE_SIZE;
        let arena = Arena::new(&ArenaOptions { source, ..ArenaOptions::new(bytes) })
            .expect("this size is possible");
        prop_assert_eq!(arena.len(), bytes);
        prop_assert_eq!(arena.frames(), frames as u64);
        let align = if bytes >= GIB { GIB } else { bytes.next_power_of_two().max(2 * MIB) };
        prop_assert!(arena.base().addr().get().is_multiple_of(align));
        write(&arena, bytes - 1, 0xa5);
        prop_assert_eq!(read(&arena, bytes - 1), 0xa5);
        prop_assert_eq!(read(&arena, bytes - PAGE_SIZE), 0);
    }

    #[test]
    fn any_other_size_is_refused_by_its_rule(
        bytes in prop_oneof![0..16 * PAGE_SIZE, (16 * TIB..=usize::MAX)]
    ) {
        let rule = match Arena::new(&ArenaOptions::new(bytes)) {
            Ok(arena) => { prop_assert_eq!(arena.len(), bytes); None }
            Err(PlatformError::ArenaSize { rule, .. }) => Some(rule),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert_eq!(rule == Some(SizeRule::AtLeastOneFrame), bytes < PAGE_SIZE);
        if bytes >= PAGE_SIZE {
            prop_assert_eq!(rule == Some(SizeRule::WholeFrames), !bytes.is_multiple_of(PAGE_SIZE));
        }
    }
}

#[test]
fn one_tebibyte_costs_neither_time_nor_memory() {
    isolated("platform::arena::tests::one_tebibyte_costs_neither_time_nor_memory", &[], || {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the line exists");
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("it has a number")
        };
        // The first build brings in the pages of the code itself; they belong to no arena.
        drop(build(TIB));
        let before = resident();
        let times = (0..5).map(|_| {
            let start = Instant::now();
            let arena = build(TIB);
            let elapsed = start.elapsed();
            drop(arena);
            elapsed
        });
        // The fastest of a few: others may have been interrupted.
        let fastest = times.min().expect("it was built");
        assert!(fastest < Duration::from_millis(10), "{fastest:?}");
        let arena = build(TIB);
        assert!(resident() < before + 1024, "{before} KiB before, {} KiB after", resident());
        assert!(arena.base().addr().get().is_multiple_of(GIB));
    });
}

#[test]
fn a_drop_unmaps_and_closes_everything() {
    isolated("platform::arena::tests::a_drop_unmaps_and_closes_everything", &[], || {
        let (mapped, files) = (mapped_bytes(), open_files());
        for options in [ArenaOptions::new(8 * GIB), memfd(8 * GIB)] {
            let arena = Arena::new(&options).expect("this size is possible");
            assert!(mapped_bytes() >= mapped + 8 * GIB);
            // What the alignment needed is given back at once.
            assert!(mapped_bytes() < mapped + 8 * GIB + 64 * MIB);
            drop(arena);
            assert!(mapped_bytes() < mapped + 64 * MIB);
            assert_eq!(open_files(), files);
        }
    });
}

#[test]
fn every_refused_call_is_a_typed_error_and_leaves_nothing_behind() {
    isolated(
        "platform::arena::tests::every_refused_call_is_a_typed_error_and_leaves_nothing_behind",
        &[],
        || {
            let (mapped, files) = (mapped_bytes(), open_files());
            let shared = memfd(3 * GIB);
            let private = ArenaOptions::new(3 * GIB);
            let cases = [
                (private, SystemCall::Mmap, 0),
                (private, SystemCall::Munmap, 0),
                (private, SystemCall::Mprotect, 0),
                (shared, SystemCall::Mmap, 0),
                (shared, SystemCall::Munmap, 0),
                (shared, SystemCall::MemfdCreate, 0),
                (shared, SystemCall::Ftruncate, 0),
                (shared, SystemCall::AddSeals, 0),
                (shared, SystemCall::Mmap, 1),
            ];
            for (options, failing, n) in cases {
                let guard = fault::fail(failing, Occurrence::Nth(n), Errno::NOMEM);
                let error = Arena::new(&options).expect_err("a call was refused");
                assert!(
                    matches!(error, PlatformError::SystemCall { call, errno: Errno::NOMEM, .. } if call == failing),
                    "{failing}: {error}"
                );
                assert_eq!(guard.failures(), 1);
                drop(guard);
                assert!(mapped_bytes() < mapped + 64 * MIB, "{failing} {n} left a mapping behind");
                assert_eq!(open_files(), files, "{failing} {n} left a file behind");
            }
        },
    );
}

#[test]
fn wishes_that_the_system_refuses_are_reported_and_do_no_harm() {
    let options =
        ArenaOptions { backing: Backing::Thp, dump: DumpPolicy::Exclude, ..ArenaOptions::new(4 * MIB) };
    let _advice = fault::fail(SystemCall::Madvise, Occurrence::Always, Errno::NOMEM);
    let _name = fault::fail(SystemCall::NameMapping, Occurrence::Always, Errno::INVAL);
    let arena = Arena::new(&options).expect("wishes never fail");
    let obtained = arena.obtained();
    assert_eq!((obtained.backing_asked, obtained.backing), (Backing::Thp, Backing::FourK));
    assert_eq!(obtained.backing_downgrade, Some(BackingDowngrade::AdviceRefused(Errno::NOMEM)));
    assert!(!obtained.named && !obtained.left_out_of_dumps);
}

#[test]
fn huge_pages_are_obtained_or_the_reason_is_given() {
    let thp = |bytes| {
        let options = ArenaOptions { backing: Backing::Thp, ..ArenaOptions::new(bytes) };
        Arena::new(&options).expect("this size is possible").obtained().clone()
    };
    let obtained = thp(64 * MIB);
    assert_eq!(obtained.backing == Backing::Thp, obtained.backing_downgrade.is_none());
    let small = thp(MIB);
    assert_eq!(small.backing, Backing::FourK);
    assert_eq!(small.backing_downgrade, Some(BackingDowngrade::ArenaTooSmall));
}

#[test]
fn prefaulting_makes_everything_resident_whatever_the_kernel_knows() {
    let pages = 512;
    let options = ArenaOptions { prefault: Prefault::All, ..ArenaOptions::new(pages * PAGE_SIZE) };
    let arena = Arena::new(&options).expect("this size is possible");
    assert_eq!(resident_pages(&arena, 0, pages), pages);

    let arena = build(pages * PAGE_SIZE);
    write(&arena, 0, 7);
    // An old kernel refuses the advice that populates: pages are then touched, and keep their contents.
    let _old_kernel = fault::fail(SystemCall::Madvise, Occurrence::Always, Errno::INVAL);
    arena.prefault_range(0, pages / 2 * PAGE_SIZE).expect("touching always works");
    assert_eq!(resident_pages(&arena, 0, pages), pages / 2);
    assert_eq!(read(&arena, 0), 7);
}

#[test]
fn a_refused_prefault_fails_the_build() {
    let options = ArenaOptions { prefault: Prefault::All, ..ArenaOptions::new(MIB) };
    let _no_memory = fault::fail(SystemCall::Madvise, Occurrence::Always, Errno::NOMEM);
    let error = Arena::new(&options).expect_err("the prefault was refused");
    assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::Madvise, .. }), "{error}");
}

#[test]
fn locking_reports_the_limit_that_was_hit() {
    let arena = build(16 * MIB);
    let _limit = fault::fail(SystemCall::Mlock, Occurrence::Nth(0), Errno::NOMEM);
    let error = arena.lock_range(0, 16 * MIB).expect_err("the call was refused");
    assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
    // One page can be locked under any usual limit, and is resident then.
    if arena.lock_range(PAGE_SIZE, PAGE_SIZE).is_ok() {
        assert_eq!(resident_pages(&arena, PAGE_SIZE, 1), 1);
    }
}

#[test]
fn discarded_memory_reads_as_zero_and_is_given_back() {
    for options in [ArenaOptions::new(4 * MIB), memfd(4 * MIB)] {
        let arena = Arena::new(&options).expect("this size is possible");
        write(&arena, 0, 1);
        write(&arena, 2 * MIB, 2);
        // SAFETY: only this test's thread uses the arena.
        unsafe { arena.discard(2 * MIB, 2 * MIB) }.expect("the range is not locked");
        assert_eq!(resident_pages(&arena, 2 * MIB, 512), 0);
        assert_eq!((read(&arena, 0), read(&arena, 2 * MIB)), (1, 0));
    }
}

#[test]
fn ranges_must_be_whole_frames_inside_of_the_arena() {
    let arena = build(MIB);
    for (offset, len) in
        [(0, MIB + PAGE_SIZE), (MIB, PAGE_SIZE), (1, PAGE_SIZE), (0, 1), (PAGE_SIZE, usize::MAX)]
    {
        let refused = PlatformError::Range { offset, len, arena_len: MIB };
        assert_eq!(arena.prefault_range(offset, len), Err(refused.clone()));
        assert_eq!(arena.lock_range(offset, len), Err(refused));
    }
    assert_eq!(arena.prefault_range(MIB, 0), Ok(()));
}

#[test]
#[should_panic(expected = "lies outside of an arena")]
fn an_address_outside_of_the_arena_is_refused() {
    let _ = build(MIB).ptr_at(MIB);
}

#[test]
fn a_memfd_arena_shares_its_memory_through_its_file() {
    let arena = Arena::new(&memfd(4 * MIB)).expect("this size is possible");
    let file = arena.file().expect("it has a file");
    let window = sys::reserve(4 * MIB).expect("there is room");
    // SAFETY: the reservation is this test's own.
    unsafe { sys::map_file(window, 4 * MIB, file) }.expect("the file can be mapped again");
    write(&arena, 3 * MIB, 42);
    // SAFETY: the byte lies in the second mapping.
    let byte = unsafe { window.add(3 * MIB) };
    // SAFETY: as above, and only this test's thread writes there.
    assert_eq!(unsafe { byte.read_volatile() }, 42);
    // SAFETY: the reservation is this test's own, and its use is over.
    unsafe { sys::unmap(window, 4 * MIB) }.expect("it was mapped");
}

#[test]
fn the_file_of_an_arena_cannot_be_shortened() {
    let arena = Arena::new(&memfd(4 * MIB)).expect("this size is possible");
    let file = arena.file().expect("it has a file");
    assert_eq!(sys::ftruncate(file, MIB as u64), Err(Errno::PERM));
    assert!(build(MIB).file().is_none());
}

#[test]
fn a_lent_mapping_is_used_and_never_changed() {
    let owner = build(4 * MIB);
    // SAFETY: the owner outlives the lent arena, and the test uses the range through that only.
    let lent = unsafe { Arena::from_raw(owner.base(), 2 * MIB) }.expect("the mapping is aligned");
    assert_eq!(lent.frames(), 512);
    write(&lent, 0, 9);
    // SAFETY: only this test's thread uses the arena.
    assert_eq!(unsafe { lent.discard(0, MIB) }, Err(PlatformError::ForeignMapping));
    assert_eq!(lent.obtained().backing_downgrade, Some(BackingDowngrade::LentMapping));
    drop(lent);
    assert_eq!(read(&owner, 0), 9);
}

#[test]
fn a_lent_mapping_must_begin_on_a_page_and_hold_whole_frames() {
    let owner = build(4 * MIB);
    // SAFETY: the range lies in the owner's mapping.
    let crooked = unsafe { Arena::from_raw(owner.ptr_at(1), PAGE_SIZE) };
    assert!(matches!(crooked, Err(PlatformError::UnalignedMapping { .. })));
    // SAFETY: the range lies in the owner's mapping.
    let partial = unsafe { Arena::from_raw(owner.base(), PAGE_SIZE + 1) };
    assert!(matches!(partial, Err(PlatformError::ArenaSize { rule: SizeRule::WholeFrames, .. })));
}

#[test]
fn a_mapping_carries_its_name_where_the_system_says_so() {
    for options in [ArenaOptions::new(MIB), memfd(MIB)] {
        let arena = Arena::new(&options).expect("this size is possible");
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        // A kernel that names nothing may show neighbours of the same kind as one mapping.
        let line = maps.lines().find(|line| range_of(line).contains(&arena.base().addr().get()));
        let shown = line.is_some_and(|line| line.contains("gfp:arena"));
        assert_eq!(shown, arena.obtained().named, "{line:?}");
    }
}

#[test]
fn residency_is_what_the_caller_recorded() {
    let mut arena = build(MIB);
    assert_eq!(arena.obtained().residency, Residency::NotAsked);
    arena.record_residency(Residency::Locked { bytes: MIB });
    assert_eq!(arena.obtained().residency, Residency::Locked { bytes: MIB });
}

#[test]
fn parts_are_tied_before_their_pages_are_taken() {
    let span = |bytes, os_node, binding| NodeSpan { bytes, os_node, binding };
    let options = ArenaOptions { prefault: Prefault::All, ..ArenaOptions::new(4 * MIB) };
    // Node 0 exists everywhere, node 1023 hardly anywhere; of one that is only preferred the refusal is kept.
    let spans = [span(MIB, 0, Binding::Preferred), span(MIB, 1023, Binding::Preferred)];
    let (arena, tied) = Arena::on_nodes(&options, &spans).expect("nothing is strict");
    assert!(tied[0].is_ok() && tied[1].is_err(), "{tied:?}");
    assert_eq!(resident_pages(&arena, 0, 1024), 1024);

    let name = "platform::arena::tests::parts_are_tied_before_their_pages_are_taken";
    isolated(name, &[], || {
        let mapped = mapped_bytes();
        let strict = [span(MIB, 0, Binding::Strict), span(MIB, 1023, Binding::Strict)];
        let error = Arena::on_nodes(&options, &strict).map(|_| ()).expect_err("there is no such node");
        assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::Mbind, .. }), "{error}");
        for binding in [Binding::None, Binding::Strict] {
            let outside = Arena::on_nodes(&options, &[span(8 * MIB, 0, binding)]).map(|_| ());
            assert_eq!(outside, Err(PlatformError::Range { offset: 0, len: 8 * MIB, arena_len: 4 * MIB }));
        }
        assert!(mapped_bytes() < mapped + 4 * MIB);
    });
}

#[test]
fn each_part_lies_behind_the_one_before() {
    let span = |bytes| NodeSpan { bytes, os_node: 0, binding: Binding::None };
    let tied =
        |spans: &[NodeSpan]| Arena::on_nodes(&ArenaOptions::new(4 * MIB), spans).map(|(_, tied)| tied.len());
    assert_eq!(tied(&[span(MIB), span(2 * MIB), span(MIB)]), Ok(3));
    let outside = PlatformError::Range { offset: 3 * MIB, len: 2 * MIB, arena_len: 4 * MIB };
    assert_eq!(tied(&[span(MIB), span(2 * MIB), span(2 * MIB)]), Err(outside));
}

#[test]
fn the_system_says_where_pages_lie() {
    let options = ArenaOptions { prefault: Prefault::All, ..ArenaOptions::new(2 * MIB) };
    let whole = Arena::new(&options).expect("this size is possible");
    let node = whole.locate(&[0]).expect("the system says")[0].expect("it was touched");
    let placed = |arena: &Arena, os_node| {
        let Placement { here, elsewhere, unknown } =
            arena.placement(0, arena.len(), os_node).expect("the system says");
        (here, elsewhere, unknown)
    };
    let (here, elsewhere, unknown) = placed(&whole, node);
    assert_eq!((here + elsewhere, unknown), (512, 0));
    assert!(here > 0);
    assert_eq!(placed(&whole, 1023), (0, 512, 0));
    // Of a large range a part is looked at.
    let empty = build(GIB);
    write(&empty, 0, 1);
    write(&empty, PAGE_SIZE, 1);
    let (here, elsewhere, unknown) = placed(&empty, node);
    assert_eq!((here + elsewhere, unknown), (1, (1 << 16) - 1));
    assert_eq!(empty.placement(GIB, 0, node), Ok(Placement::default()));
    let _refused = fault::fail(SystemCall::MovePages, Occurrence::Always, Errno::NOSYS);
    let error = whole.placement(0, MIB, node).expect_err("the call was refused");
    assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::MovePages, .. }), "{error}");
}

#[test]
fn a_downgrade_that_is_forbidden_fails_the_build() {
    let options =
        ArenaOptions { backing: Backing::Thp, downgrade: Downgrade::Forbidden, ..ArenaOptions::new(4 * MIB) };
    let _advice = fault::fail(SystemCall::Madvise, Occurrence::Nth(0), Errno::NOMEM);
    let error = Arena::new(&options).map(|_| ()).expect_err("huge pages were refused");
    let why = BackingDowngrade::AdviceRefused(Errno::NOMEM);
    assert_eq!(error, PlatformError::Backing { asked: Backing::Thp, why });
    let small = ArenaOptions { backing: Backing::FourK, ..options };
    assert_eq!(Arena::new(&small).expect("small pages are always there").obtained().to_string(), "4k");
}

#[test]
fn a_file_beyond_the_limit_of_files_is_an_error_and_no_signal() {
    let name = "platform::arena::tests::a_file_beyond_the_limit_of_files_is_an_error_and_no_signal";
    isolated(name, &[], || {
        let all = rustix::process::getrlimit(Resource::Fsize);
        let limit = Rlimit { current: Some(MIB as u64), ..all };
        rustix::process::setrlimit(Resource::Fsize, limit).expect("a limit can be lowered");
        let error = Arena::new(&memfd(2 * MIB)).map(|_| ()).expect_err("it is beyond the limit");
        assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
        drop(Arena::new(&memfd(MIB)).expect("it is within the limit"));
        // What counts covered lines writes a larger file at the end of the process.
        rustix::process::setrlimit(Resource::Fsize, all).expect("and raised to what it was");
    });
}
