//! What belongs to a thread of the system and not to the worker that sits on it: its handle, and the policy in force.

use gfp::{Allocator, Gfp, Handle, MemPolicy, PolicyScope};

use super::{faults::Planned, tally::Tally};

/// A policy with a name of its own, so that it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamedPolicy {
    pub(super) name: u64,
    pub(super) policy: MemPolicy,
}

/// A thread's access to the allocator.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    allocator: &'a Allocator,
    /// Before the handle, so that it ends before.
    scope: Option<PolicyScope>,
    in_force: Option<u64>,
    handle: Option<Handle>,
}

impl<'a> Seat<'a> {
    pub(super) const fn new(allocator: &'a Allocator) -> Self {
        Self { allocator, scope: None, in_force: None, handle: None }
    }

    /// Makes the thread's first contact with the allocator one without memory for a cache: requests are served all the same.
    pub(super) fn be_refused(&self, tally: &mut Tally) {
        let fault = Planned::no_memory();
        // Either may be refused, and neither may panic or hang.
        drop((self.allocator.handle(), self.allocator.alloc_page(Gfp::KERNEL)));
        tally.count_faults(fault.call(), fault.struck());
    }

    pub(super) const fn allocator(&self) -> &'a Allocator {
        self.allocator
    }

    /// Returns the handle, if the thread can have one.
    pub(super) fn handle(&mut self) -> Option<&Handle> {
        if self.handle.is_none() {
            self.handle = self.allocator.handle().ok();
        }
        self.handle.as_ref()
    }

    /// Puts a worker's policy into force, unless it is; tells whether it is then.
    pub(super) fn enforce(&mut self, wanted: Option<NamedPolicy>) -> bool {
        let name = wanted.map(|wanted| wanted.name);
        if self.in_force != name {
            // The one before ends first: scopes nest.
            self.scope = None;
            self.scope = wanted.and_then(|wanted| self.allocator.mempolicy(wanted.policy).ok());
            self.in_force = self.scope.as_ref().and(name);
        }
        self.in_force == name
    }
}
