//! The order that a workload asks for: known to the compiler, or only at run time.

use crate::rival::{Migrate, Request, Zeroing};

/// An order, in one of two forms. A caller that writes an order down is compiled with it, and so is every
/// allocator alike; a caller that computes it is not.
pub trait BlockOrder: Copy + Send {
    /// Returns the order.
    fn get(self) -> u32;

    /// Returns the request that all workloads make: an unmovable block of this order, whatever it holds.
    #[inline(always)]
    fn request(self) -> Request {
        Request { order: self.get(), migrate: Migrate::Unmovable, zeroed: Zeroing::Untouched }
    }
}

/// An order that the compiler knows.
#[derive(Clone, Copy, Debug)]
pub struct Constant<const ORDER: u32>;

impl<const ORDER: u32> BlockOrder for Constant<ORDER> {
    #[inline(always)]
    fn get(self) -> u32 {
        ORDER
    }
}

/// An order that is known at run time.
#[derive(Clone, Copy, Debug)]
pub struct Variable(pub u32);

impl BlockOrder for Variable {
    #[inline(always)]
    fn get(self) -> u32 {
        self.0
    }
}
