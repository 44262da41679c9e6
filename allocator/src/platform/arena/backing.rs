//! Which page size backs an arena: what was asked, what the system grants, and why not more.

use std::fmt;
use std::path::Path;
use std::ptr::NonNull;

use super::super::error::PlatformError;
use super::super::pages::{ArenaSource, Backing, BackingDowngrade};

use super::super::{Errno, sys};
use super::options::MIN_ALIGN;

/// What an arena got, beside what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Obtained {
    /// The pages asked for.
    pub backing_asked: Backing,
    /// The pages obtained: those of a pool are there, all of them; [`Backing::Thp`] is what the system's settings grant, and
    /// single pages may still be small, where memory is fragmented.
    pub backing: Backing,
    /// Why `backing` is less than was asked.
    pub backing_downgrade: Option<BackingDowngrade>,
    /// Why it is not even transparent huge pages, where pages of a pool were asked for.
    pub thp_downgrade: Option<BackingDowngrade>,
    /// Whether the mapping has its name in /proc/self/maps.
    pub named: bool,
    /// Whether core dumps leave the arena out by its own request.
    pub left_out_of_dumps: bool,
    /// Whether the part that should never be paged out is locked; recorded by the caller.
    pub residency: Residency,
}

impl fmt::Display for Obtained {
    /// Writes the pages obtained, such as `2m`, or `thp and not 2m: …` with the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backing.fmt(f)?;
        if let Some(why) = &self.backing_downgrade {
            write!(f, " and not {}: {why}", self.backing_asked)?;
        }
        self.thp_downgrade.map_or(Ok(()), |why| write!(f, "; nor thp: {why}"))
    }
}

/// Whether the resident part of an arena, the DMA zone, is locked in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Residency {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// This many bytes from the arena's start are locked.
    Locked {
        /// Length in bytes.
        bytes: usize,
    },
    /// The system refused, and the part is ordinary memory.
    Refused(PlatformError),
}

/// Asks the system for pages of 4 KiB only.
///
/// # Safety
///
/// The caller owns `[base, base + len)`.
pub(super) unsafe fn request_small(base: NonNull<u8>, len: usize) {
    // A kernel that refuses to be told "no huge pages" has none.
    // SAFETY: by this function's contract; the advice discards nothing.
    let _ = unsafe { sys::advise(base, len, sys::Advice::LinuxNoHugepage) };
}

/// Asks the system for transparent huge pages, and says why they are not to be had.
///
/// # Safety
///
/// The caller owns `[base, base + len)`.
pub(super) unsafe fn request_thp(
    base: NonNull<u8>,
    len: usize,
    source: ArenaSource,
) -> Option<BackingDowngrade> {
    // SAFETY: by this function's contract; the advice discards nothing.
    match unsafe { sys::advise(base, len, sys::Advice::LinuxHugepage) } {
        _ if len < MIN_ALIGN => Some(BackingDowngrade::ArenaTooSmall),
        Err(Errno::INVAL) => Some(BackingDowngrade::KernelWithout),
        Err(errno) => Some(BackingDowngrade::AdviceRefused(errno)),
        Ok(()) => refusal(Path::new("/"), source),
    }
}

/// Returns why the system, whose /sys and /proc lie under `root`, grants no huge page despite the advice.
fn refusal(root: &Path, source: ArenaSource) -> Option<BackingDowngrade> {
    let status = sys::read_file(&root.join("proc/self/status")).unwrap_or_default();
    if status.lines().any(|line| line.split_whitespace().eq(["THP_enabled:", "0"])) {
        return Some(BackingDowngrade::ForbiddenForProcess);
    }
    let directory = root.join("sys/kernel/mm/transparent_hugepage");
    let file = match source {
        ArenaSource::Anonymous => "enabled",
        ArenaSource::Memfd => "shmem_enabled",
    };
    // Since Linux 6.8 each page size has a setting of its own, which may defer to the general one.
    let selected = |path: &Path| sys::read_file(path).ok().and_then(|text| selected_word(&text));
    let setting = selected(&directory.join("hugepages-2048kB").join(file))
        .filter(|word| word != "inherit")
        .or_else(|| selected(&directory.join(file)));
    match setting.as_deref() {
        Some("never" | "deny") => Some(BackingDowngrade::ForbiddenBySystem(source)),
        Some(_) => None,
        None => Some(BackingDowngrade::KernelWithout),
    }
}

/// Returns the word in brackets: the chosen one in a sysfs file that lists all choices.
fn selected_word(text: &str) -> Option<String> {
    let (word, _) = text.split_once('[')?.1.split_once(']')?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn answer(name: &str, files: &[(&str, &str)], source: ArenaSource) -> Option<BackingDowngrade> {
        let root = std::env::temp_dir().join(format!("gfp-backing-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("temporary folder");
            fs::write(path, text).expect("temporary file");
        }
        let refusal = refusal(&root, source);
        let _ = fs::remove_dir_all(&root);
        refusal
    }

    const GENERAL: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    const OF_2M: &str = "sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled";
    const SHARED: &str = "sys/kernel/mm/transparent_hugepage/shmem_enabled";

    #[test]
    fn the_general_setting_decides_where_the_size_has_none() {
        let never = Some(BackingDowngrade::ForbiddenBySystem(ArenaSource::Anonymous));
        let anonymous = ArenaSource::Anonymous;
        assert_eq!(answer("general", &[(GENERAL, "always madvise [never]\n")], anonymous), never);
        assert_eq!(answer("madvise", &[(GENERAL, "always [madvise] never\n")], anonymous), None);
        let inherit = [(GENERAL, "[always] madvise never\n"), (OF_2M, "always [inherit] madvise never\n")];
        assert_eq!(answer("inherit", &inherit, anonymous), None);
    }

    #[test]
    fn the_setting_of_the_size_goes_before_the_general_one() {
        let files = [(GENERAL, "always madvise [never]\n"), (OF_2M, "always inherit [madvise] never\n")];
        assert_eq!(answer("size", &files, ArenaSource::Anonymous), None);
    }

    #[test]
    fn shared_memory_has_its_own_setting() {
        let files = [
            (GENERAL, "[always] madvise never\n"),
            (SHARED, "always within_size advise [never] deny force\n"),
        ];
        let refused = answer("shared", &files, ArenaSource::Memfd);
        assert_eq!(refused, Some(BackingDowngrade::ForbiddenBySystem(ArenaSource::Memfd)));
    }

    #[test]
    fn a_process_or_a_kernel_without_huge_pages_says_so() {
        let files =
            [(GENERAL, "[always] madvise never\n"), ("proc/self/status", "Name:\tx\nTHP_enabled:\t0\n")];
        let refused = answer("process", &files, ArenaSource::Anonymous);
        assert_eq!(refused, Some(BackingDowngrade::ForbiddenForProcess));
        let refused = answer("kernel", &[], ArenaSource::Anonymous);
        assert_eq!(refused, Some(BackingDowngrade::KernelWithout));
    }
}
