//! One thin function a system call.
//!
//! Nothing here decides anything: each function asks the fault seam, makes its call, and returns the error
//! number. What an error means is said by the caller, in a [`PlatformError`](super::PlatformError).

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::{self, NonNull};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
pub(crate) use rustix::mm::{Advice, MapFlags};
use rustix::mm::{MprotectFlags, ProtFlags};

use super::Errno;
use super::fault::{SystemCall, check};
use super::pages::HugePageSize;

/// Returns the host's page size in bytes.
pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Reserves `len` bytes of address space that cannot be accessed and cost no memory.
pub(crate) fn reserve(len: usize) -> Result<NonNull<u8>, Errno> {
    check(SystemCall::Mmap)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses the address, so that no existing mapping is touched.
    let address = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) }?;
    NonNull::new(address.cast()).ok_or(Errno::FAULT)
}

/// Replaces a part of a reservation by a shared, readable and writable mapping of the start of a file.
///
/// # Safety
///
/// `[at, at + len)` lies in a reservation of the caller that nobody uses.
pub(crate) unsafe fn map_file(at: NonNull<u8>, len: usize, file: BorrowedFd<'_>) -> Result<(), Errno> {
    check(SystemCall::Mmap)?;
    let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the caller owns the range and nobody uses it.
    unsafe { rustix::mm::mmap(at.as_ptr().cast(), len, protection, flags, file, 0) }?;
    Ok(())
}

/// Maps the start of a file, readable and writable, at an address where nothing is mapped yet; `EXIST` where something is.
pub(crate) fn map_file_at(
    at: NonNull<u8>,
    len: usize,
    flags: MapFlags,
    file: BorrowedFd<'_>,
) -> Result<(), Errno> {
    check(SystemCall::Mmap)?;
    let flags = flags | MapFlags::FIXED_NOREPLACE;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: no existing mapping is touched.
    let mapped = unsafe { rustix::mm::mmap(at.as_ptr().cast(), len, protection, flags, file, 0) }?;
    if mapped == at.as_ptr().cast() {
        return Ok(());
    }
    // Kernels before 4.17 take the address as a hint.
    // SAFETY: the range was mapped just now, and nobody has its address.
    unsafe { rustix::mm::munmap(mapped, len) }?;
    Err(Errno::EXIST)
}

/// Unmaps a range.
///
/// # Safety
///
/// The caller owns `[at, at + len)`, and nobody uses it any more.
pub(crate) unsafe fn unmap(at: NonNull<u8>, len: usize) -> Result<(), Errno> {
    check(SystemCall::Munmap)?;
    // SAFETY: by this function's contract.
    unsafe { rustix::mm::munmap(at.as_ptr().cast(), len) }
}

/// Forbids all access to a range; its contents stay.
///
/// # Safety
///
/// The caller owns `[at, at + len)`, and nobody uses it.
pub(crate) unsafe fn make_inaccessible(at: NonNull<u8>, len: usize) -> Result<(), Errno> {
    check(SystemCall::Mprotect)?;
    // SAFETY: by this function's contract nobody relies on access to the range.
    unsafe { rustix::mm::mprotect(at.as_ptr().cast(), len, MprotectFlags::empty()) }
}

/// Makes a range readable and writable; memory is committed at first touch.
///
/// # Safety
///
/// The caller owns `[at, at + len)`.
pub(crate) unsafe fn make_accessible(at: NonNull<u8>, len: usize) -> Result<(), Errno> {
    check(SystemCall::Mprotect)?;
    let protection = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: widening the access to a range of the caller breaks no one's assumption.
    unsafe { rustix::mm::mprotect(at.as_ptr().cast(), len, protection) }
}

/// Gives advice about a range.
///
/// # Safety
///
/// The caller owns `[at, at + len)`; where the advice discards contents, nobody relies on them.
pub(crate) unsafe fn advise(at: NonNull<u8>, len: usize, advice: Advice) -> Result<(), Errno> {
    check(SystemCall::Madvise)?;
    // SAFETY: by this function's contract.
    unsafe { rustix::mm::madvise(at.as_ptr().cast(), len, advice) }
}

/// Makes a range resident and keeps it so.
///
/// # Safety
///
/// `[at, at + len)` is mapped.
pub(crate) unsafe fn lock(at: NonNull<u8>, len: usize) -> Result<(), Errno> {
    check(SystemCall::Mlock)?;
    // SAFETY: locking changes neither contents nor protection of a mapped range.
    unsafe { rustix::mm::mlock(at.as_ptr().cast(), len) }
}

/// Names an anonymous mapping in /proc/self/maps (Linux 5.17, `CONFIG_ANON_VMA_NAME`).
///
/// # Safety
///
/// The caller owns `[at, at + len)`.
pub(crate) unsafe fn name_mapping(at: NonNull<u8>, len: usize, name: &CStr) -> Result<(), Errno> {
    // The variable arguments are unsigned longs; a narrower one would leave half a register undefined.
    const ANON_NAME: libc::c_ulong = libc::PR_SET_VMA_ANON_NAME as libc::c_ulong;

    check(SystemCall::NameMapping)?;
    // SAFETY: the name is a C string that outlives the call, and the kernel copies it; the range is only
    // looked up, not accessed.
    let status = unsafe { libc::prctl(libc::PR_SET_VMA, ANON_NAME, at.as_ptr(), len, name.as_ptr()) };
    if status == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Sets from which NUMA nodes the pages of a range come when they are first touched (`mbind(2)`).
///
/// # Safety
///
/// The range is mapped and the caller's own.
pub(crate) unsafe fn bind_memory(
    at: NonNull<u8>,
    len: usize,
    policy: libc::c_int,
    os_node: u32,
) -> Result<(), Errno> {
    /// Nodes that a kernel can be built for.
    const NODES: usize = 1024;

    check(SystemCall::Mbind)?;
    let mut mask = [0_u64; NODES / 64];
    let node = usize::try_from(os_node).ok().filter(|&node| node < NODES).ok_or(Errno::INVAL)?;
    mask[node / 64] |= 1 << (node % 64);
    let flags: libc::c_uint = 0;
    // SAFETY: the kernel reads the mask, which has as many bits as is said (and one less than that is what it counts), and
    // changes only where pages of the range will come from.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            at.as_ptr(),
            len,
            policy,
            mask.as_ptr(),
            NODES as libc::c_ulong + 1,
            flags,
        )
    };
    if status == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Returns, for each page, the node that it lies on or a negative error number: ENOENT for one that was never touched
/// (`move_pages(2)` without a move).
pub(crate) fn locate_pages(pages: &[NonNull<u8>]) -> Result<Vec<i32>, Errno> {
    check(SystemCall::MovePages)?;
    let mut nodes = vec![0_i32; pages.len()];
    let (this_process, no_nodes, flags) = (0_i32, ptr::null::<i32>(), 0_i32);
    // SAFETY: the kernel reads as many addresses as there are and writes as many answers as there is room for; it looks the
    // addresses up and does not access them.
    let status = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            this_process,
            pages.len(),
            pages.as_ptr(),
            no_nodes,
            nodes.as_mut_ptr(),
            flags,
        )
    };
    if status >= 0 { Ok(nodes) } else { Err(last_errno()) }
}

/// What runs around a fork.
pub(crate) type AtFork = unsafe extern "C" fn();

/// Has functions called around every fork: before it those that were given last come first; after it, in the parent and in
/// the child, those that were given first (`pthread_atfork(3)`).
pub(crate) fn at_fork(
    before: Option<AtFork>,
    parent: Option<AtFork>,
    child: Option<AtFork>,
) -> Result<(), Errno> {
    check(SystemCall::AtFork)?;
    // SAFETY: the functions are static, take nothing and unwind nowhere.
    let status = unsafe { libc::pthread_atfork(before, parent, child) };
    if status == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(status)) }
}

/// Creates an empty file in memory, in hugetlb pages of a size or in ordinary ones, closed on exec, whose seals can be set.
pub(crate) fn memfd_create(name: &CStr, huge: Option<HugePageSize>) -> Result<OwnedFd, Errno> {
    check(SystemCall::MemfdCreate)?;
    let pages = match huge {
        None => MemfdFlags::empty(),
        Some(HugePageSize::Mib2) => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
        Some(HugePageSize::Gib1) => MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
    };
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | pages)
}

/// Sets the length of a file in bytes.
pub(crate) fn ftruncate(file: BorrowedFd<'_>, len: u64) -> Result<(), Errno> {
    check(SystemCall::Ftruncate)?;
    // Beyond this limit the kernel would not only refuse, but raise SIGXFSZ.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| len > limit) {
        return Err(Errno::FBIG);
    }
    rustix::fs::ftruncate(file, len)
}

/// Frees the memory of a part of a file, whose length stays; it reads as zero afterwards, in every mapping.
///
/// # Safety
///
/// Nobody relies on its contents.
pub(crate) unsafe fn punch_hole(file: BorrowedFd<'_>, offset: usize, len: usize) -> Result<(), Errno> {
    check(SystemCall::Fallocate)?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, offset as u64, len as u64)
}

/// Forbids that anybody who holds the file ever shortens it.
pub(crate) fn seal_against_shrinking(file: BorrowedFd<'_>) -> Result<(), Errno> {
    check(SystemCall::AddSeals)?;
    rustix::fs::fcntl_add_seals(file.as_fd(), SealFlags::SHRINK)
}

/// Returns the OS indices of the CPUs that a thread may run on, ascending; thread 0 is the caller.
pub(crate) fn sched_getaffinity(thread: u32) -> Result<Vec<u32>, Errno> {
    // 1024 CPUs are enough for most kernels; one built for more refuses a shorter mask with EINVAL.
    const FIRST_WORDS: usize = 16;
    const LAST_WORDS: usize = 4096;

    check(SystemCall::SchedGetaffinity)?;
    let mut mask = vec![0_u64; FIRST_WORDS];
    let bytes = loop {
        let len = size_of_val(mask.as_slice());
        // SAFETY: the kernel writes at most `len` bytes at the address, and the vector has that many.
        let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, len, mask.as_mut_ptr()) };
        if let Ok(bytes) = usize::try_from(written) {
            break bytes;
        }
        match last_errno() {
            Errno::INVAL if mask.len() < LAST_WORDS => mask.resize(mask.len() * 2, 0),
            errno => return Err(errno),
        }
    };
    mask.truncate(bytes.div_ceil(size_of::<u64>()));
    let cpus =
        (0_u32..).zip(mask.iter().flat_map(|word| (0..u64::BITS).map(move |bit| word >> bit & 1 == 1)));
    Ok(cpus.filter_map(|(cpu, allowed)| allowed.then_some(cpu)).collect())
}

/// Binds the calling thread to one CPU.
///
/// The crate that does it reports no error number, so every refusal is `EINVAL`, which is what
/// `sched_setaffinity(2)` says of a CPU that is absent or outside of the cgroup's cpuset.
pub(crate) fn sched_setaffinity_to(cpu: u32) -> Result<(), Errno> {
    check(SystemCall::SchedSetaffinity)?;
    // The mask of the crate has 1024 bits, and it panics beyond them.
    let cpu = usize::try_from(cpu).ok().filter(|&cpu| cpu < 1024).ok_or(Errno::INVAL)?;
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    if pinned { Ok(()) } else { Err(Errno::INVAL) }
}

/// Binds the calling thread to a set of CPUs.
pub(crate) fn sched_setaffinity_to_any(cpus: impl Iterator<Item = u32>) -> Result<(), Errno> {
    check(SystemCall::SchedSetaffinity)?;
    let mut set = rustix::thread::CpuSet::new();
    // The set has 1024 bits.
    for cpu in
        cpus.filter_map(|cpu| usize::try_from(cpu).ok()).filter(|&cpu| cpu < rustix::thread::CpuSet::MAX_CPU)
    {
        set.set(cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
}

/// Returns the OS index of the CPU that the caller runs on at this moment.
#[inline]
pub(crate) fn sched_getcpu() -> usize {
    // Not rustix's, which reads the vDSO's headers: under valgrind they are not there. And glibc's reads a word of the
    // thread's own memory, where the kernel keeps it (rseq).
    // SAFETY: the call has no arguments, and says −1 where it fails.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).unwrap_or(usize::MAX)
}

/// Reads a small file of /sys or /proc as text.
pub(crate) fn read_file(path: &Path) -> Result<String, Errno> {
    check(SystemCall::ReadFile)?;
    fs::read_to_string(path).map_err(|error| errno_of(&error))
}

/// Returns the names in a folder of /sys or /proc, in no order.
pub(crate) fn list_directory(path: &Path) -> Result<Vec<String>, Errno> {
    check(SystemCall::ReadFile)?;
    let entries = fs::read_dir(path).map_err(|error| errno_of(&error))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

/// Returns the calling thread's number and its name, which has at most 15 bytes.
pub(crate) fn this_thread() -> (u32, [u8; 16]) {
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes at most 16 bytes at the address.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    (rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(), name)
}

/// Returns the thread numbers of this process.
pub(crate) fn thread_ids() -> Result<Vec<u32>, Errno> {
    let names = list_directory(Path::new("/proc/self/task"))?;
    Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
}

fn last_errno() -> Errno {
    errno_of(&std::io::Error::last_os_error())
}

/// Returns the number of an I/O error; one without a number is text that is not UTF-8.
fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::ILSEQ)
}
