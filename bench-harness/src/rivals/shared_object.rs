//! Any other allocator: a shared library with the functions of malloc, opened when it is named.
//!
//! `--allocator so:/path/to/libtcmalloc.so` measures a library that this program knows nothing of. Blocks are asked for with the
//! library's own `aligned_alloc(4096, size)`, or `posix_memalign` where it has no `aligned_alloc`, and given back with its own
//! `free`; the rest of the program keeps its own malloc. The path must have a slash in it, so that it is a file and not a name to
//! be searched for: `so:./liballocator.so`.
//!
//! An allocator with another interface needs a library of a few lines, no change here:
//!
//! ```c
//! // cc -O2 -shared -fPIC -o libmine.so glue.c -lmine
//! #include <stddef.h>
//! void *aligned_alloc(size_t alignment, size_t bytes) { return mine_alloc(bytes, alignment); }
//! void free(void *block) { mine_free(block); }
//! ```
//!
//! Some libraries want their thread-local variables in memory that only a program's start sets aside ("cannot allocate memory in
//! static TLS block"): name them in `LD_PRELOAD` too, which makes them the whole program's malloc.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use libloading::Library;

use super::{Global, Visitor};

/// What such a name begins with.
pub(super) const PREFIX: &str = "so:";

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "A library of the user's, called through pointers and so never inlined. It is not asked for zeroed memory: the harness \
     clears blocks.";

/// Checks that the library can be measured.
///
/// # Errors
/// It cannot be opened, or lacks a function: the message says which.
pub(super) fn check(path: &str) -> Result<()> {
    SharedObject::open(path).map(drop)
}

/// Opens the library of a path, and shows it to the visitor under the name that it was asked for by.
///
/// # Errors
/// As [`check`].
pub(super) fn with_library<V: Visitor>(name: &str, path: &str, visitor: V) -> Result<V::Output> {
    let SharedObject { entry, free } = SharedObject::open(path)?;
    // As long-lived as the library, which stays open.
    let name: &'static str = name.to_owned().leak();
    Ok(match entry {
        Entry::AlignedAlloc(alloc) => {
            visitor.visit(Global::new(name, Malloc { alloc: Aligned(alloc), free }))
        }
        Entry::PosixMemalign(alloc) => visitor.visit(Global::new(name, Malloc { alloc: Posix(alloc), free })),
    })
}

type AlignedAlloc = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type PosixMemalign = unsafe extern "C" fn(*mut *mut c_void, usize, usize) -> c_int;
type Free = unsafe extern "C" fn(*mut c_void);

/// The functions that are needed of a library.
struct SharedObject {
    entry: Entry,
    free: Free,
}

enum Entry {
    AlignedAlloc(AlignedAlloc),
    PosixMemalign(PosixMemalign),
}

impl SharedObject {
    fn open(path: &str) -> Result<Self> {
        ensure!(
            path.contains('/'),
            "\"{PREFIX}{path}\" names no file: write the path of a library, such as {PREFIX}/usr/lib/libtcmalloc.so or {PREFIX}./{path}"
        );
        let file =
            Path::new(path).canonicalize().with_context(|| format!("cannot open the allocator {path}"))?;
        // SAFETY: what a library does when it is opened is in the hands of whoever names it.
        let library = unsafe { Library::new(&file) }.with_context(|| {
            format!("cannot open the allocator {path} (if for static TLS, name it in LD_PRELOAD too)")
        })?;
        let functions = Self::of(&library, &file);
        // It stays open: threads that end still call into a malloc that they have used.
        std::mem::forget(library);
        functions
    }

    fn of(library: &Library, file: &Path) -> Result<Self> {
        // SAFETY: the C standard gives the function this type.
        let aligned_alloc = unsafe { own_symbol::<AlignedAlloc>(library, file, c"aligned_alloc") };
        // SAFETY: POSIX gives the function this type.
        let posix_memalign = unsafe { own_symbol::<PosixMemalign>(library, file, c"posix_memalign") };
        // SAFETY: the C standard gives the function this type.
        let free = unsafe { own_symbol::<Free>(library, file, c"free") };
        let entry = match (aligned_alloc, posix_memalign) {
            (Some(aligned_alloc), _) => Entry::AlignedAlloc(aligned_alloc),
            (None, Some(posix_memalign)) => Entry::PosixMemalign(posix_memalign),
            (None, None) => {
                bail!("{} has neither aligned_alloc nor posix_memalign of its own", file.display())
            }
        };
        let free = free.with_context(|| format!("{} has no free of its own", file.display()))?;
        Ok(Self { entry, free })
    }
}

/// Returns a function of the library itself. A search goes on in the libraries that it needs, and would find the C library's.
///
/// # Safety
/// `F` is a function pointer, of the type that the function of that name has.
unsafe fn own_symbol<F: Copy>(library: &Library, file: &Path, name: &CStr) -> Option<F> {
    // SAFETY: only its address is looked at before the file is known.
    let address = *unsafe { library.get::<*mut c_void>(name) }.ok()?;
    let same_file =
        file_of(address).is_some_and(|found| found.canonicalize().is_ok_and(|found| found == file));
    if !same_file {
        return None;
    }
    // SAFETY: the caller promises the type.
    unsafe { library.get::<F>(name) }.ok().map(|symbol| *symbol)
}

/// Returns the file that an address was loaded from.
fn file_of(address: *const c_void) -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr writes to the place that it is given, and takes any address.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: all bytes of it were zero, which is a valid value, before dladdr was called.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the name is the dynamic linker's, a C string that lives as long as the library is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// A function that allocates aligned memory: one type for each, so that the measured loop calls it without a choice.
trait AlignedFunction: Copy {
    /// Returns memory of that size and alignment, or null.
    ///
    /// # Safety
    /// The alignment is a power of two of at least a pointer's size, and the size a multiple of it that is not 0.
    unsafe fn call(self, alignment: usize, bytes: usize) -> *mut c_void;
}

#[derive(Clone, Copy)]
struct Aligned(AlignedAlloc);

impl AlignedFunction for Aligned {
    #[inline(always)]
    unsafe fn call(self, alignment: usize, bytes: usize) -> *mut c_void {
        // SAFETY: the caller promises what the function asks for.
        unsafe { (self.0)(alignment, bytes) }
    }
}

#[derive(Clone, Copy)]
struct Posix(PosixMemalign);

impl AlignedFunction for Posix {
    #[inline(always)]
    unsafe fn call(self, alignment: usize, bytes: usize) -> *mut c_void {
        let mut block = std::ptr::null_mut();
        // SAFETY: the caller promises what the function asks for, and the place for the block is ours.
        let refused = unsafe { (self.0)(&raw mut block, alignment, bytes) };
        // After a refusal the place may hold anything.
        if refused == 0 { block } else { std::ptr::null_mut() }
    }
}

/// A library's malloc.
struct Malloc<F> {
    alloc: F,
    free: Free,
}

impl<F> fmt::Debug for Malloc<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Malloc").finish_non_exhaustive()
    }
}

// SAFETY: it is what the functions of malloc promise: blocks of their own, that any thread may free, until they are freed. The
// layouts that the harness makes are of whole frames, aligned to one.
unsafe impl<F: AlignedFunction> GlobalAlloc for Malloc<F> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout's size is not zero, and a multiple of its alignment of a frame.
        unsafe { self.alloc.call(layout.align(), layout.size()) }.cast()
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the block came from this library and is not freed yet.
        unsafe { (self.free)(block.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rival::{Migrate, Request, Rival, RivalThread, Zeroing};

    /// The file of a function of the C library, which has all that is needed.
    fn libc_path() -> String {
        let file = file_of(libc::free as *const c_void).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Allocates zeroed blocks of some orders, writes to them and frees them; returns the name.
    struct Exercise;

    impl Visitor for Exercise {
        type Output = &'static str;

        fn visit<R, B>(self, rival: R) -> &'static str
        where
            R: Rival + Send + 'static,
            B: Send + 'static,
            for<'a> R::Thread<'a>: RivalThread<Block = B>,
        {
            let mut thread = rival.thread();
            for order in [0, 3, 9, 0] {
                let request = Request { order, migrate: Migrate::Unmovable, zeroed: Zeroing::Zeroed };
                let block = thread.alloc(request).unwrap();
                let address = thread.address(&block);
                assert!(address.addr().is_multiple_of(4096));
                // SAFETY: the block is ours, that long, and all of it was written.
                let memory = unsafe { std::slice::from_raw_parts_mut(address, 4096 << order) };
                assert!(memory.iter().all(|&byte| byte == 0));
                memory.fill(7);
                thread.free(block, order);
            }
            rival.name()
        }
    }

    #[test]
    fn the_c_library_itself_can_be_plugged_in() {
        let name = format!("{PREFIX}{}", libc_path());
        assert_eq!(super::super::with_rival(&name, 1 << 20, Exercise).unwrap(), name);
    }

    #[test]
    fn posix_memalign_serves_where_there_is_no_aligned_alloc() {
        let rival = Global::new("posix", Malloc { alloc: Posix(libc::posix_memalign), free: libc::free });
        assert_eq!(Exercise.visit(rival), "posix");
    }

    #[test]
    fn a_library_that_has_no_malloc_of_its_own_is_not_taken_for_the_c_library() {
        // Of the libraries that this program has loaded: it needs the C library, but is none.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let other = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .find(|file| file.contains("/libgcc_s"));
        let message = check(other.expect("a Rust program unwinds by libgcc")).unwrap_err().to_string();
        assert!(message.contains("neither aligned_alloc nor posix_memalign"), "{message}");
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        for (path, answer) in [
            ("libc.so.6", "names no file"),
            ("/nowhere/liballocator.so", "/nowhere/liballocator.so"),
            ("/proc/self/maps", "cannot open the allocator /proc/self/maps"),
        ] {
            let message = format!("{:#}", check(path).unwrap_err());
            assert!(message.contains(answer), "{path}: {message}");
        }
    }
}
