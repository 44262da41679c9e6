//! The calls to the operating system, by name.

use std::fmt;

use super::Errno;

/// A kind of call that the library makes to the operating system, and that a test can make fail.
///
/// ```
/// use gfp::fault::SystemCall;
///
/// assert_eq!(SystemCall::Mmap.name(), "mmap");
/// assert!(SystemCall::ALL.contains(&SystemCall::Madvise));
/// assert!(SystemCall::Mmap.remedy(gfp::fault::Errno::NOMEM).is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SystemCall {
    /// mmap(2), for a reservation, for the memory of an arena, and for tables of 64 KiB and more.
    Mmap,
    /// munmap(2).
    Munmap,
    /// mprotect(2), which opens a reservation for use, and closes free memory where it is guarded.
    Mprotect,
    /// madvise(2), whatever the advice.
    Madvise,
    /// mlock(2).
    Mlock,
    /// Ties memory to NUMA nodes.
    Mbind,
    /// Asks on which NUMA nodes pages lie.
    MovePages,
    /// `memfd_create(2)`.
    MemfdCreate,
    /// ftruncate(2).
    Ftruncate,
    /// fallocate(2), which punches holes.
    Fallocate,
    /// fcntl(2) with `F_ADD_SEALS`.
    AddSeals,
    /// prctl(2) with `PR_SET_VMA_ANON_NAME`.
    NameMapping,
    /// `sched_getaffinity(2)`.
    SchedGetaffinity,
    /// `sched_setaffinity(2)`.
    SchedSetaffinity,
    /// open(2) and read(2) of a file under /sys or /proc.
    ReadFile,
    /// Everything that hwloc does to discover a topology.
    HwlocLoad,
    /// clone(2) for a thread of the library.
    ThreadSpawn,
    /// Registers what runs around a fork.
    AtFork,
    /// membarrier(2), which registers the process: without it, caches run a fence of their own.
    MembarrierRegister,
    /// membarrier(2), which runs a fence on all of the process's threads.
    Membarrier,
}

impl SystemCall {
    /// Every kind of call.
    pub const ALL: [Self; 20] = [
        Self::Mmap,
        Self::Munmap,
        Self::Mprotect,
        Self::Madvise,
        Self::Mlock,
        Self::Mbind,
        Self::MovePages,
        Self::MemfdCreate,
        Self::Ftruncate,
        Self::Fallocate,
        Self::AddSeals,
        Self::NameMapping,
        Self::SchedGetaffinity,
        Self::SchedSetaffinity,
        Self::ReadFile,
        Self::HwlocLoad,
        Self::ThreadSpawn,
        Self::AtFork,
        Self::MembarrierRegister,
        Self::Membarrier,
    ];

    /// Returns the call's usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mmap => "mmap",
            Self::Munmap => "munmap",
            Self::Mprotect => "mprotect",
            Self::Madvise => "madvise",
            Self::Mlock => "mlock",
            Self::Mbind => "mbind",
            Self::MovePages => "move_pages",
            Self::MemfdCreate => "memfd_create",
            Self::Ftruncate => "ftruncate",
            Self::Fallocate => "fallocate(FALLOC_FL_PUNCH_HOLE)",
            Self::AddSeals => "fcntl(F_ADD_SEALS)",
            Self::NameMapping => "prctl(PR_SET_VMA_ANON_NAME)",
            Self::SchedGetaffinity => "sched_getaffinity",
            Self::SchedSetaffinity => "sched_setaffinity",
            Self::ReadFile => "read",
            Self::HwlocLoad => "hwloc_topology_load",
            Self::ThreadSpawn => "clone",
            Self::AtFork => "pthread_atfork",
            Self::MembarrierRegister => "membarrier(REGISTER_PRIVATE_EXPEDITED)",
            Self::Membarrier => "membarrier(PRIVATE_EXPEDITED)",
        }
    }

    /// Says what may help against a refusal, or nothing where nothing general can be said.
    #[must_use]
    pub const fn remedy(self, errno: Errno) -> Option<&'static str> {
        Some(match (self, errno) {
            (Self::Mprotect, Errno::NOMEM) => {
                "raise vm.max_map_count or RLIMIT_DATA, set vm.overcommit_memory to 0 or 1, or ask for a smaller arena"
            }
            (Self::Mmap, Errno::NOMEM) => {
                "raise RLIMIT_AS (ulimit -v), set vm.overcommit_memory to 0 or 1, or ask for a smaller arena"
            }
            (Self::Munmap, Errno::NOMEM) => "raise vm.max_map_count",
            (Self::Mlock, _) => "raise RLIMIT_MEMLOCK (ulimit -l) or run with CAP_IPC_LOCK",
            (Self::Madvise, Errno::NOMEM) => {
                "the system or the memory cgroup has too little memory: free some, or prefault less"
            }
            (Self::Madvise, Errno::INVAL) => {
                "locked pages cannot be discarded, and old kernels lack some advice"
            }
            (Self::MemfdCreate, Errno::MFILE | Errno::NFILE) => {
                "raise RLIMIT_NOFILE (ulimit -n) or fs.file-max"
            }
            (Self::MemfdCreate, Errno::INVAL) => "shorten the name to 249 bytes",
            (Self::Ftruncate, Errno::FBIG | Errno::INVAL) => "raise RLIMIT_FSIZE (ulimit -f)",
            (Self::Fallocate, Errno::OPNOTSUPP) => {
                "use a kernel of 3.5 or later, whose shared memory can have holes"
            }
            (Self::SchedSetaffinity, _) => {
                "choose a CPU that is online and in this process's cpuset (Cpus_allowed_list in /proc/self/status)"
            }
            (Self::ThreadSpawn, Errno::AGAIN) => "raise RLIMIT_NPROC (ulimit -u) or the cgroup's pids.max",
            (Self::ReadFile, Errno::NOENT) => "mount sysfs on /sys and proc on /proc",
            (Self::Mbind, Errno::INVAL | Errno::IO) => {
                "choose nodes that are online and in this process's cpuset (Mems_allowed_list in /proc/self/status)"
            }
            (Self::Mbind | Self::MovePages, Errno::NOSYS) => {
                "the kernel was built without NUMA: neither bind nor verify"
            }
            (_, Errno::PERM | Errno::ACCESS) => {
                "a security policy (seccomp, LSM) forbids this call: allow it"
            }
            (_, Errno::NOMEM) => "the system or the process's limits leave too little memory: free some",
            _ => return None,
        })
    }
}

impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_listed_under_its_own_name() {
        let mut names = SystemCall::ALL.map(SystemCall::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn every_refusal_for_which_something_helps_says_what() {
        let table = [
            (SystemCall::Mprotect, Errno::NOMEM, "raise vm.max_map_count or RLIMIT_DATA"),
            (SystemCall::Mmap, Errno::NOMEM, "raise RLIMIT_AS"),
            (SystemCall::Munmap, Errno::NOMEM, "raise vm.max_map_count"),
            (SystemCall::Mlock, Errno::AGAIN, "raise RLIMIT_MEMLOCK"),
            (SystemCall::Madvise, Errno::NOMEM, "the system or the memory cgroup has too little memory"),
            (SystemCall::Madvise, Errno::INVAL, "locked pages cannot be discarded"),
            (SystemCall::MemfdCreate, Errno::MFILE, "raise RLIMIT_NOFILE"),
            (SystemCall::MemfdCreate, Errno::NFILE, "raise RLIMIT_NOFILE"),
            (SystemCall::MemfdCreate, Errno::INVAL, "shorten the name to 249 bytes"),
            (SystemCall::Ftruncate, Errno::FBIG, "raise RLIMIT_FSIZE"),
            (SystemCall::SchedSetaffinity, Errno::INVAL, "choose a CPU that is online"),
            (SystemCall::ThreadSpawn, Errno::AGAIN, "raise RLIMIT_NPROC"),
            (SystemCall::ReadFile, Errno::NOENT, "mount sysfs on /sys"),
            (SystemCall::Mbind, Errno::INVAL, "choose nodes that are online"),
            (SystemCall::Mbind, Errno::NOSYS, "the kernel was built without NUMA"),
            (SystemCall::MovePages, Errno::NOSYS, "the kernel was built without NUMA"),
            (SystemCall::Mbind, Errno::PERM, "a security policy"),
            (SystemCall::Membarrier, Errno::ACCESS, "a security policy"),
            (SystemCall::MovePages, Errno::NOMEM, "the system or the process's limits leave too little"),
        ];
        for (call, errno, begins) in table {
            let remedy = call.remedy(errno).unwrap_or_default();
            assert!(remedy.starts_with(begins), "{call}, {errno}: {remedy}");
        }
        assert_eq!(SystemCall::Mmap.remedy(Errno::INVAL), None);
    }
}
