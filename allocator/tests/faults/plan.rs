//! Which calls something makes, and making some of them fail.

use gfp::fault::{Errno, FaultGuard, Occurrence, SystemCall, fail};

/// One call of a kind, the first being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) call: SystemCall,
    pub(crate) nth: u32,
}

impl Call {
    /// Makes this call fail.
    pub(crate) fn fail(self) -> Fault {
        Fault { call: self, guard: fail(self.call, Occurrence::Nth(self.nth), errno_of(self.call)) }
    }
}

/// A call that is to fail.
pub(crate) struct Fault {
    pub(crate) call: Call,
    guard: FaultGuard,
}

impl Fault {
    /// Tells whether the call was made.
    pub(crate) fn struck(&self) -> bool {
        self.guard.failures() > 0
    }
}

/// Returns what `f` returns, and the calls that it makes on this thread, those that other plans make fail among them.
pub(crate) fn calls_of<R>(f: impl FnOnce() -> R) -> (R, Vec<Call>) {
    let counters = SystemCall::ALL.map(|call| fail(call, Occurrence::Never, Errno::INVAL));
    let result = f();
    let calls = SystemCall::ALL.into_iter().zip(&counters);
    (result, calls.flat_map(|(call, seen)| (0..seen.calls()).map(move |nth| Call { call, nth })).collect())
}

/// Returns the reason that a system gives most often when it refuses a call.
pub(crate) const fn errno_of(call: SystemCall) -> Errno {
    match call {
        SystemCall::NameMapping => Errno::INVAL,
        SystemCall::MemfdCreate => Errno::MFILE,
        SystemCall::Ftruncate => Errno::FBIG,
        SystemCall::ThreadSpawn => Errno::AGAIN,
        SystemCall::MovePages | SystemCall::HwlocLoad => Errno::NOSYS,
        SystemCall::MembarrierRegister | SystemCall::Membarrier | SystemCall::ReadFile => Errno::ACCESS,
        SystemCall::Mbind
        | SystemCall::AddSeals
        | SystemCall::SchedGetaffinity
        | SystemCall::SchedSetaffinity => Errno::PERM,
        _ => Errno::NOMEM,
    }
}
