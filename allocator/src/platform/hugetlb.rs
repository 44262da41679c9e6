//! Pools of huge pages (hugetlb): memory that an administrator has set aside in pages of 2 MiB or 1 GiB.

use std::path::Path;

use super::error::{Asked, PlatformError};
use super::fault::SystemCall;
use super::pages::directory;
use super::{Errno, sys};

pub use super::pages::{HugePageSize, PoolShortage};

/// The pages of one size, of one node or of the whole machine, at one moment.
///
/// ```
/// use gfp::platform::HugePagePool;
///
/// for pool in HugePagePool::all()? {
///     assert!(pool.available() <= pool.free, "some are promised to others");
/// }
/// # Ok::<(), gfp::platform::PlatformError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugePagePool {
    /// The size of a page.
    pub size: HugePageSize,
    /// The system's number of the node; `None` for all nodes together.
    pub os_node: Option<u32>,
    /// Pages in the pool, in use or not.
    pub pages: u64,
    /// Pages that nobody has taken.
    pub free: u64,
    /// Free pages that are promised to mappings which have not touched them yet; known of all nodes together only.
    pub reserved: u64,
}

impl HugePagePool {
    /// Reads the pools of this machine: for each size those of all nodes together, then each node's. A size that the kernel
    /// does not have is left out.
    ///
    /// ```
    /// for pool in gfp::platform::HugePagePool::all()? {
    ///     println!("{} of {} pages of {} are free", pool.free, pool.pages, pool.size);
    /// }
    /// # Ok::<(), gfp::platform::PlatformError>(())
    /// ```
    ///
    /// # Errors
    /// When a file of a pool that exists cannot be read.
    pub fn all() -> Result<Vec<Self>, PlatformError> {
        Self::all_under(Path::new("/"))
    }

    fn all_under(root: &Path) -> Result<Vec<Self>, PlatformError> {
        let names = sys::list_directory(&root.join("sys/devices/system/node")).unwrap_or_default();
        let mut nodes: Vec<u32> =
            names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok()).collect();
        nodes.sort_unstable();
        let places = || [None].into_iter().chain(nodes.iter().copied().map(Some));
        let pools = [HugePageSize::Mib2, HugePageSize::Gib1];
        let pools = pools.into_iter().flat_map(|size| places().map(move |node| (size, node)));
        pools.filter_map(|(size, node)| Self::read(root, size, node).transpose()).collect()
    }

    /// Reads a pool; `None` when there is none.
    pub(super) fn read(
        root: &Path,
        size: HugePageSize,
        os_node: Option<u32>,
    ) -> Result<Option<Self>, PlatformError> {
        let directory = root.join(directory(size, os_node));
        let number = |name: &str| {
            let path = directory.join(name);
            let text = sys::read_file(&path)?;
            text.trim().parse::<u64>().map_err(|_| Errno::INVAL)
        };
        let failed =
            |errno| PlatformError::call(SystemCall::ReadFile, Asked::File(directory.as_path().into()), errno);
        let pages = match number("nr_hugepages") {
            Err(Errno::NOENT) => return Ok(None),
            pages => pages.map_err(failed)?,
        };
        let free = number("free_hugepages").map_err(failed)?;
        // A node has no such file.
        let reserved = if os_node.is_none() { number("resv_hugepages").map_err(failed)? } else { 0 };
        Ok(Some(Self { size, os_node, pages, free, reserved }))
    }

    /// Returns how many pages a new mapping can have: those that are free and not promised.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.free.saturating_sub(self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::fault::{self, Occurrence};
    use super::*;

    /// Makes the files of pools under a folder of their own, and reads them.
    fn pools_of(name: &str, files: &[(&str, &str)]) -> Result<Vec<HugePagePool>, PlatformError> {
        let root = std::env::temp_dir().join(format!("gfp-pools-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join("sys").join(path);
            fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("temporary folder");
            fs::write(path, text).expect("temporary file");
        }
        let pools = HugePagePool::all_under(&root);
        let _ = fs::remove_dir_all(&root);
        pools
    }

    #[test]
    fn pools_are_read_for_the_machine_and_for_each_node() {
        let files = [
            ("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "12\n"),
            ("kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "8\n"),
            ("kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "3\n"),
            ("devices/system/node/node10/hugepages/hugepages-2048kB/nr_hugepages", "4\n"),
            ("devices/system/node/node10/hugepages/hugepages-2048kB/free_hugepages", "0\n"),
            ("devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "8\n"),
            ("devices/system/node/node2/hugepages/hugepages-2048kB/free_hugepages", "8\n"),
            ("devices/system/node/has_cpu", "2\n"),
        ];
        let pools = pools_of("all", &files).expect("the files are complete");
        let read: Vec<_> = pools.iter().map(|pool| (pool.os_node, pool.pages, pool.free)).collect();
        assert_eq!(read, [(None, 12, 8), (Some(2), 8, 8), (Some(10), 4, 0)]);
        assert_eq!((pools[0].available(), pools[1].available()), (5, 8));
        assert!(pools.iter().all(|pool| pool.size == HugePageSize::Mib2));
    }

    #[test]
    fn a_kernel_without_pools_has_none_and_broken_files_are_errors() {
        assert_eq!(pools_of("none", &[("kernel/x", "")]), Ok(Vec::new()));
        let broken = [("kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "many\n")];
        let error = pools_of("broken", &broken).expect_err("no number").to_string();
        assert!(error.contains("hugepages-1048576kB"), "{error}");
        let _unreadable = fault::fail(SystemCall::ReadFile, Occurrence::Always, Errno::ACCESS);
        let error = HugePagePool::all().expect_err("nothing can be read");
        assert!(matches!(error, PlatformError::SystemCall { call: SystemCall::ReadFile, .. }), "{error}");
    }

    #[test]
    fn a_shortage_names_pages_pool_and_file() {
        let mut shortage = PoolShortage { size: HugePageSize::Mib2, os_node: None, asked: 8, free: 3 };
        let text = shortage.to_string();
        for part in [
            "8 hugetlb pages of 2 MiB",
            "3 are free",
            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        ] {
            assert!(text.contains(part), "{part:?} missing in {text:?}");
        }
        (shortage.size, shortage.os_node) = (HugePageSize::Gib1, Some(1));
        let text = shortage.to_string();
        let file = "/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages";
        assert!(text.contains(file) && text.contains("on node 1") && text.contains("boot with"), "{text}");
    }
}
