//! Hugetlb pages are obtained whole or not at all, whatever the pools of this machine hold; nothing stays taken.

use std::fs;

use super::super::super::error::SizeRule;
use super::super::super::fault::{self, Occurrence};
use super::super::super::pages::Backing;
use super::super::super::test_process::{isolated, mapped_bytes, open_files, range_of};
use super::super::options::{Downgrade, DumpPolicy};
use super::*;
use crate::sync::{Mutex, MutexGuard};

const MIB: usize = 1 << 20;

/// The pools are the machine's: tests that count their pages take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock()
}

fn options(backing: Backing, source: ArenaSource, downgrade: Downgrade) -> ArenaOptions {
    let bytes = 2 * backing.page_bytes();
    ArenaOptions { source, backing, downgrade, ..ArenaOptions::new(bytes) }
}

/// Two pages of 2 MiB, or an error.
fn two_pages(source: ArenaSource) -> ArenaOptions {
    options(Backing::Huge2M, source, Downgrade::Forbidden)
}

/// Returns how many pages of a size can be had; none where there is no pool.
fn available(size: HugePageSize) -> u64 {
    let pool = HugePagePool::read(Path::new("/"), size, None).expect("its files can be read");
    pool.map_or(0, |pool| pool.available())
}

/// Returns two pages of 2 MiB where the pool has them.
fn taken(source: ArenaSource) -> Option<Arena> {
    if available(HugePageSize::Mib2) < 2 {
        eprintln!("left out: the pool has too few pages of 2 MiB");
        return None;
    }
    Some(Arena::new(&two_pages(source)).expect("the pool has two pages"))
}

const SOURCES: [ArenaSource; 2] = [ArenaSource::Anonymous, ArenaSource::Memfd];

#[test]
fn pages_are_taken_at_once_and_come_back_with_the_drop() {
    let _turn = turn();
    for (backing, source) in
        [Backing::Huge2M, Backing::Huge1G].into_iter().flat_map(|b| SOURCES.map(|s| (b, s)))
    {
        let size = backing.huge_page_size().expect("these are huge pages");
        let before = available(size);
        let arena = Arena::new(&options(backing, source, Downgrade::Allowed)).expect("less is allowed");
        let obtained = arena.obtained().clone();
        assert_eq!(obtained.backing_asked, backing);
        if before >= 2 {
            assert_eq!((obtained.backing, obtained.backing_downgrade), (backing, None));
            assert_eq!(available(size), before - 2);
            assert!(arena.base().addr().get().is_multiple_of(2 * size.bytes().min(512 * MIB)));
            assert_eq!(arena.file().is_some(), source == ArenaSource::Memfd);
            assert_eq!(obtained.to_string(), backing.name());
        } else {
            let why = obtained.backing_downgrade.expect("the pool is too small");
            assert!(obtained.backing.huge_page_size().is_none());
            match why {
                BackingDowngrade::PoolTooSmall(short) => {
                    assert_eq!((short.size, short.os_node, short.asked), (size, None, 2));
                    assert_eq!(u64::from(short.free), before);
                }
                why => assert_eq!(why, BackingDowngrade::NoSuchPages(size)),
            }
            assert_eq!(obtained.backing == Backing::Thp, obtained.thp_downgrade.is_none());
            assert!(obtained.to_string().contains(&format!("and not {backing}: ")), "{obtained}");
        }
        drop(arena);
        assert_eq!(available(size), before);
    }
}

#[test]
fn a_forbidden_downgrade_is_an_error_that_says_what_to_do() {
    let _turn = turn();
    let before = available(HugePageSize::Mib2);
    // More pages than a machine has.
    let bytes = 8 << 40;
    let asked = ArenaOptions { bytes, ..two_pages(ArenaSource::Anonymous) };
    let error = Arena::new(&asked).expect_err("no pool is so large");
    match &error {
        PlatformError::Backing { asked: Backing::Huge2M, why: BackingDowngrade::PoolTooSmall(short) } => {
            assert_eq!(short.asked, 4 << 20);
            assert_eq!(u64::from(short.free), before);
            assert!(error.to_string().contains("hugepages-2048kB/nr_hugepages"), "{error}");
        }
        PlatformError::Backing { why: BackingDowngrade::NoSuchPages(HugePageSize::Mib2), .. } => {}
        _ => panic!("{error}"),
    }
    assert_eq!(available(HugePageSize::Mib2), before);
}

#[test]
fn an_arena_is_a_multiple_of_its_pages() {
    for downgrade in [Downgrade::Allowed, Downgrade::Forbidden] {
        let crooked = ArenaOptions { bytes: 3 * MIB, downgrade, ..two_pages(ArenaSource::Anonymous) };
        let rule = SizeRule::WholeHugePages(HugePageSize::Mib2);
        assert_eq!(Arena::new(&crooked).err(), Some(PlatformError::ArenaSize { bytes: 3 * MIB, rule }));
    }
}

#[test]
fn every_refused_call_has_its_reason_and_leaves_nothing_behind() {
    let _turn = turn();
    let name = "platform::arena::hugetlb::tests::every_refused_call_has_its_reason_and_leaves_nothing_behind";
    isolated(name, &[], || {
        let (mapped, files, free) = (mapped_bytes(), open_files(), available(HugePageSize::Mib2));
        let mut cases = vec![
            (SystemCall::MemfdCreate, 0),
            (SystemCall::Ftruncate, 0),
            (SystemCall::AddSeals, 0),
            (SystemCall::Mmap, 0),
            (SystemCall::Munmap, 0),
            (SystemCall::Mmap, 1),
        ];
        // Nothing is populated where nothing is promised.
        cases.extend((free >= 2).then_some((SystemCall::Madvise, 0)));
        for ((failing, n), source) in cases.into_iter().flat_map(|case| SOURCES.map(|source| (case, source)))
        {
            let guard = fault::fail(failing, Occurrence::Nth(n), Errno::PERM);
            let error = Arena::new(&two_pages(source)).expect_err("a call was refused");
            let why = BackingDowngrade::HugetlbRefused { call: failing, errno: Errno::PERM };
            assert_eq!(error, PlatformError::Backing { asked: Backing::Huge2M, why });
            assert_eq!(guard.failures(), 1);
            drop(guard);
            assert!(mapped_bytes() < mapped + 64 * MIB, "{failing} {n} left a mapping behind");
            assert_eq!(open_files(), files, "{failing} {n} left a file behind");
            assert_eq!(available(HugePageSize::Mib2), free, "{failing} {n} left pages taken");

            let guard = fault::fail(failing, Occurrence::Nth(n), Errno::PERM);
            let lesser = options(Backing::Huge2M, source, Downgrade::Allowed);
            let arena = Arena::new(&lesser).expect("other pages will do");
            assert_eq!(arena.obtained().backing_downgrade, Some(why));
            drop((guard, arena));
            assert!(mapped_bytes() < mapped + 64 * MIB && open_files() == files);
            assert_eq!(available(HugePageSize::Mib2), free);
        }
    });
}

#[test]
fn a_kernel_without_such_pages_says_so() {
    for errno in [Errno::NODEV, Errno::NOSYS, Errno::INVAL] {
        let _guard = fault::fail(SystemCall::MemfdCreate, Occurrence::Nth(0), errno);
        let error = Arena::new(&two_pages(ArenaSource::Anonymous)).expect_err("there are no such pages");
        let why = BackingDowngrade::NoSuchPages(HugePageSize::Mib2);
        assert_eq!(error, PlatformError::Backing { asked: Backing::Huge2M, why });
    }
}

#[test]
fn an_address_that_another_thread_took_is_chosen_again() {
    let _turn = turn();
    let plain = Arena::new(&two_pages(ArenaSource::Anonymous)).map(|arena| arena.obtained().clone());
    let guard = fault::fail(SystemCall::Mmap, Occurrence::Nth(1), Errno::EXIST);
    let again = Arena::new(&two_pages(ArenaSource::Anonymous)).map(|arena| arena.obtained().clone());
    assert_eq!((again, guard.failures()), (plain, 1));
}

#[test]
fn what_was_missing_is_read_from_the_pool_that_was_asked() {
    let root = std::env::temp_dir().join(format!("gfp-explain-{}", std::process::id()));
    let pool = root.join("sys/devices/system/node/node1/hugepages/hugepages-2048kB");
    fs::create_dir_all(&pool).expect("temporary folder");
    for (file, text) in [("nr_hugepages", "8\n"), ("free_hugepages", "3\n")] {
        fs::write(pool.join(file), text).expect("temporary file");
    }
    let explain = |call, errno, pages: usize, os_node| {
        let error = PlatformError::call(call, Asked::Nothing, errno);
        Refused { error, os_node, bytes: pages * 2 * MIB }.explain(&root, HugePageSize::Mib2)
    };
    let short = PoolShortage { size: HugePageSize::Mib2, os_node: Some(1), asked: 4, free: 3 };
    let too_small = Ok(BackingDowngrade::PoolTooSmall(short));
    assert_eq!(explain(SystemCall::Madvise, Errno::FAULT, 4, Some(1)), too_small);
    assert_eq!(explain(SystemCall::Mmap, Errno::NOMEM, 4, Some(1)), too_small);
    // A limit of the cgroup, a pool that cannot be read, and an error that is not about pages.
    for (call, errno, pages, os_node) in [
        (SystemCall::Madvise, Errno::FAULT, 3, Some(1)),
        (SystemCall::Madvise, Errno::FAULT, 4, Some(7)),
        (SystemCall::Madvise, Errno::HWPOISON, 4, Some(1)),
        (SystemCall::Mmap, Errno::PERM, 4, Some(1)),
    ] {
        let refused = BackingDowngrade::HugetlbRefused { call, errno };
        assert_eq!(explain(call, errno, pages, os_node), Ok(refused));
    }
    let _ = fs::remove_dir_all(&root);
}

#[test]
fn huge_pages_are_resident_named_and_never_given_back() {
    let _turn = turn();
    for source in SOURCES {
        let Some(arena) = taken(source) else { return };
        // They are neither locked nor populated a second time, so that no limit is in the way.
        let guards = [SystemCall::Mlock, SystemCall::Madvise]
            .map(|call| fault::fail(call, Occurrence::Always, Errno::PERM));
        assert_eq!((arena.lock_range(0, MIB), arena.prefault_range(0, MIB)), (Ok(()), Ok(())));
        // SAFETY: only this test uses the arena.
        assert_eq!(unsafe { arena.discard(0, 2 * MIB) }, Err(PlatformError::HugetlbPages));
        drop(guards);
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        let line = maps.lines().find(|line| range_of(line).start == arena.base().addr().get());
        assert!(line.is_some_and(|line| line.contains("gfp:arena")) && arena.obtained().named, "{line:?}");
    }
    let quiet = ArenaOptions { dump: DumpPolicy::Exclude, ..two_pages(ArenaSource::Anonymous) };
    let Ok(arena) = Arena::new(&quiet) else { return };
    assert!(arena.obtained().left_out_of_dumps);
}

#[test]
fn every_byte_can_be_written_and_the_file_shares_it() {
    let _turn = turn();
    let Some(arena) = taken(ArenaSource::Memfd) else { return };
    let window = sys::reserve(8 * MIB).expect("there is room");
    let aligned = window.addr().get().next_multiple_of(2 * MIB) - window.addr().get();
    // SAFETY: the reservation is longer by two pages.
    let view = unsafe { window.add(aligned) };
    let file = arena.file().expect("it has a file");
    // SAFETY: the reservation is this test's own.
    unsafe { sys::map_file(view, arena.len(), file) }.expect("the file can be mapped again");
    for offset in (0..arena.len()).step_by(4096) {
        // SAFETY: the byte lies in the arena, which only this test uses.
        unsafe { arena.ptr_at(offset).write(0x5a) };
        // SAFETY: the offset lies inside of the second mapping.
        let seen = unsafe { view.add(offset) };
        // SAFETY: as above, and only this test writes there.
        assert_eq!(unsafe { seen.read() }, 0x5a);
    }
    // SAFETY: the reservation is this test's own, and its use is over.
    unsafe { sys::unmap(window, 8 * MIB) }.expect("it was mapped");
}

#[test]
fn a_node_that_refuses_is_no_reason_for_lesser_pages() {
    let _turn = turn();
    if taken(ArenaSource::Anonymous).is_none() {
        return;
    }
    let span = |binding| NodeSpan { bytes: 4 * MIB, os_node: 0, binding };
    let lesser = options(Backing::Huge2M, ArenaSource::Anonymous, Downgrade::Allowed);
    let _refused = fault::fail(SystemCall::Mbind, Occurrence::Always, Errno::PERM);
    let error =
        Arena::on_nodes(&lesser, &[span(Binding::Strict)]).map(|_| ()).expect_err("it was to be strict");
    assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::Mbind, .. }), "{error}");
    let (arena, tied) = Arena::on_nodes(&lesser, &[span(Binding::Preferred)]).expect("it was only preferred");
    assert!(tied[0].is_err() && arena.obtained().backing == Backing::Huge2M);
}
