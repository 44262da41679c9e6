//! The probes as a tracer finds them: the notes in this program's own file.

#![cfg(target_os = "linux")]

use std::{cell::RefCell, collections::BTreeMap, env, fs, os::unix::fs::FileExt};

use gfp::{Allocator, Gfp, Maintain, Order, Pfn, gfp::MigrateType, trace};
use object::{
    Endianness,
    elf::{FileHeader64, NoteType},
    read::elf::{FileHeader, SectionHeader},
};

/// Name of the section of SystemTap's notes, of their owner, and their type: version 3 of probe notes.
const SECTION: &[u8] = b".note.stapsdt";
const OWNER: &[u8] = b"stapsdt";
const PROBE: NoteType = NoteType(3);

/// What a note says.
#[derive(Debug)]
struct Probe {
    provider: String,
    name: String,
    /// Where each argument is, with its size.
    arguments: Vec<String>,
    /// The address of the word that a tracer raises, and without which the arguments are not looked for, as the file has it.
    semaphore: Option<u64>,
}

/// Reads a note: three addresses, of the probe, of a base and of the semaphore, and three texts.
fn probe(note: &[u8]) -> Probe {
    let (addresses, texts) = note.split_at(24);
    let mut texts =
        texts.split(|&byte| byte == 0).map(|text| String::from_utf8(text.to_vec()).expect("ASCII"));
    let mut text = || texts.next().expect("provider, name and arguments");
    Probe {
        provider: text(),
        name: text(),
        arguments: text().split_whitespace().map(str::to_owned).collect(),
        semaphore: addresses[16..].try_into().map(u64::from_le_bytes).ok().filter(|&address| address != 0),
    }
}

/// Reads the notes of this program.
fn probes() -> Vec<Probe> {
    let file = fs::read(env::current_exe().expect("this program has a path")).expect("it can be read");
    let header = FileHeader64::<Endianness>::parse(&*file).expect("an ELF file of 64 bits");
    let endian = header.endian().expect("of either endianness");
    let sections = header.sections(endian, &*file).expect("sections");
    let (_, section) = sections.section_by_name(endian, SECTION).expect("notes of probes");
    let mut notes = section.notes(endian, &*file).expect("readable").expect("of type SHT_NOTE");
    let mut probes = Vec::new();
    while let Some(note) = notes.next().expect("whole notes") {
        assert_eq!((note.name(), note.n_type(endian)), (OWNER, PROBE));
        probes.push(probe(note.desc()));
    }
    probes
}

/// Does what probes are for, so that all of them are linked.
fn use_an_allocator() {
    let allocator =
        Allocator::builder(64 << 20).maintain(Maintain::ByHand).build().expect("64 MiB can be had");
    let handle = allocator.handle().expect("a thread gets a cache");
    let order = |order| Order::new(order);
    let mut blocks: Vec<_> =
        [0, 3, 9].map(|size| handle.alloc_pages(Gfp::KERNEL, order(size)).expect("it is free")).into();
    blocks.extend(allocator.alloc_pages(Gfp::HIGHUSER_MOVABLE, order(5)));
    blocks.into_iter().for_each(|block| handle.free_pages(block));
    let _: Result<_, _> = allocator.alloc_pages(Gfp::KERNEL, order(18));
    allocator.drain_all();
    assert!(allocator.trim().blocks > 0);
}

#[test]
fn every_probe_is_there_with_its_arguments_at_each_of_its_places() {
    use_an_allocator();
    let mut expected = BTreeMap::from([
        ("mm_page_alloc_zone_locked", 4),
        ("mm_page_pcpu_drain", 3),
        ("mm_page_alloc_extfrag", 6),
        ("boost_watermark", 2),
        ("drain_all_pages", 2),
        ("free_pending", 2),
        ("page_reporting", 3),
        ("mm_vmscan_wakeup_kswapd", 4),
        ("mm_vmscan_kswapd_wake", 3),
        ("mm_vmscan_kswapd_sleep", 1),
        ("mm_vmscan_direct_reclaim_begin", 2),
        ("mm_vmscan_direct_reclaim_end", 1),
        ("mm_vmscan_node_reclaim_begin", 3),
        ("mm_vmscan_node_reclaim_end", 1),
        ("mm_shrink_slab_start", 9),
        ("mm_shrink_slab_end", 7),
        ("slowpath_step", 4),
    ]);
    if cfg!(feature = "usdt") {
        expected.extend([("mm_page_alloc", 5), ("mm_page_free", 3)]);
    }
    let probes = probes();
    let mut found = BTreeMap::new();
    for probe in &probes {
        assert_eq!(probe.provider, "gfp", "{probe:?}");
        let arguments = *found.entry(&*probe.name).or_insert(probe.arguments.len());
        assert_eq!(probe.arguments.len(), arguments, "{probe:?}");
        assert!(probe.arguments.iter().all(|argument| argument.starts_with("-8@")), "{probe:?}");
    }
    assert_eq!(found, expected);
}

#[test]
fn what_is_on_the_way_of_a_hit_or_of_many_blocks_has_a_semaphore() {
    use_an_allocator();
    for probe in probes() {
        let has_one = match &*probe.name {
            "mm_page_alloc_zone_locked" | "mm_page_pcpu_drain" | "mm_page_alloc_extfrag" | "mm_page_free" => {
                true
            }
            // That of a request which failed has none.
            "mm_page_alloc" => continue,
            _ => false,
        };
        assert_eq!(probe.semaphore.is_some(), has_one, "{probe:?}");
    }
}

/// Sets the semaphores of all probes, as a tracer does that begins or ends to listen.
fn listen(listening: u16) {
    let program = env::current_exe().expect("this program has a path").display().to_string();
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let first = maps.lines().find(|line| line.ends_with(&program)).expect("the program is mapped");
    let (start, _) = first.split_once('-').expect("a range");
    let bias = u64::from_str_radix(start, 16).expect("hexadecimal");
    let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem").expect("one's own memory");
    for semaphore in probes().iter().filter_map(|probe| probe.semaphore) {
        memory.write_all_at(&listening.to_ne_bytes(), bias + semaphore).expect("a word of the program");
    }
}

#[test]
fn arguments_are_looked_for_while_somebody_listens() {
    let asked = RefCell::new(Vec::new());
    let fire = || {
        trace::mm_page_pcpu_drain(&[8, 9], Order::ZERO, |pfn| {
            asked.borrow_mut().push(pfn.get());
            MigrateType::Movable
        });
        let now = || {
            asked.borrow_mut().push(7);
            MigrateType::Unmovable
        };
        trace::mm_page_alloc_extfrag(
            Pfn::new(7),
            Order::ZERO,
            9,
            MigrateType::Unmovable,
            MigrateType::Movable,
            now,
        );
        std::mem::take(&mut *asked.borrow_mut())
    };
    assert_eq!(fire(), [0; 0]);
    listen(1);
    assert_eq!(fire(), [8, 9, 7]);
    use_an_allocator();
    listen(0);
    assert_eq!(fire(), [0; 0]);
}
