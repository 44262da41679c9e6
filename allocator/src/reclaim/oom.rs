//! Memory has run out: who finds it so, and what the application does about it.

use core::fmt;

use crate::{
    alloc::call_application,
    frame::Order,
    gfp::{CancelToken, Gfp},
    node::NodeMask,
    platform::comm,
    stats::MemInfo,
    sync::{LockRank, SharedCounter, SpinGuard, SpinLock},
};

/// What the application does when memory has run out.
#[derive(Clone, Debug)]
pub enum OomAction {
    /// It has freed something, or somebody will in a moment: the request tries again. An application that says so and frees nothing is
    /// asked 256 times for one request, a millisecond apart, before the request fails.
    Freed,
    /// This scope is to end: its requests fail as soon as half of what is left of the reserve does not serve them, and whoever is
    /// inside frees what it has. The request tries again.
    Cancel(CancelToken),
    /// The request fails.
    Fail,
}

/// Called when memory has run out, on the thread of the request that found it so.
pub(crate) type OomHook = Box<dyn Fn(&OomReport) -> OomAction + Send + Sync>;

/// Memory has run out for this request (`struct oom_control`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OomReport {
    /// Name of the thread.
    pub comm: String,
    /// The request's mask.
    pub gfp: Gfp,
    /// The request's order.
    pub order: Order,
    /// The nodes that may serve it.
    pub nodemask: NodeMask,
    /// How often the hook was called for this request before.
    pub round: u32,
    /// What there is.
    pub mem_info: MemInfo,
}

impl fmt::Display for OomReport {
    /// Writes the kernel's words: who asked for what, and the Mem-Info.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comm, gfp, order, .. } = self;
        write!(f, "{comm} invoked oom-killer: gfp_mask={:#x}({gfp}), order={}", gfp.bits(), order.get())?;
        if self.nodemask != NodeMask::ALL {
            write!(f, ", nodemask={}", self.nodemask)?;
        }
        write!(f, "\n{}", self.mem_info)
    }
}

/// What came of memory having run out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OomCounts {
    /// How often the hook was called.
    pub asked: u64,
    /// How often it chose a scope that had not been chosen before (`oom_kill`).
    pub killed: u64,
    /// How often it panicked, which counts as [`OomAction::Fail`].
    pub panics: u64,
}

/// The lock of those who find that memory has run out, and the hook.
pub(crate) struct Oom {
    lock: SpinLock<()>,
    hook: Option<OomHook>,
    asked: SharedCounter,
    killed: SharedCounter,
    panics: SharedCounter,
}

impl Default for Oom {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Oom {
    pub(crate) fn new(hook: Option<OomHook>) -> Self {
        let [asked, killed, panics] = Default::default();
        Self { lock: SpinLock::new(LockRank::Oom, ()), hook, asked, killed, panics }
    }

    /// Takes the lock if nobody has it (`oom_lock`).
    pub(crate) fn try_lock(&self) -> Option<SpinGuard<'_, ()>> {
        self.lock.try_lock()
    }

    /// Lets the application do something, if there is a hook; tells whether it did (`out_of_memory`).
    ///
    /// The hook may free and, to a small amount, allocate: its requests may use all reserves and never come here again. A panic
    /// of the hook ends here.
    pub(crate) fn out_of_memory(&self, report: impl FnOnce() -> OomReport) -> bool {
        let Some(hook) = &self.hook else { return false };
        self.asked.add(1);
        // It takes locks, which a signal handler must not wait for.
        let report = report();
        match call_application(|| hook(&report)) {
            Some(OomAction::Freed) => true,
            Some(OomAction::Cancel(token)) => {
                if token.choose_as_victim() {
                    self.killed.add(1);
                }
                true
            }
            Some(OomAction::Fail) => false,
            None => {
                self.panics.add(1);
                false
            }
        }
    }

    /// Returns what came of it so far.
    pub(crate) fn counts(&self) -> OomCounts {
        OomCounts { asked: self.asked.get(), killed: self.killed.get(), panics: self.panics.get() }
    }
}

impl OomReport {
    /// Says that memory has run out for a request of the calling thread.
    pub(crate) fn new(gfp: Gfp, order: Order, nodemask: NodeMask, round: u32, mem_info: MemInfo) -> Self {
        Self { comm: comm(), gfp, order, nodemask, round, mem_info }
    }
}

impl fmt::Debug for Oom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oom").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
