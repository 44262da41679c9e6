//! Linux's physical page allocator over an mmap'd arena in user space.

#[cfg(not(any(loom, shuttle)))]
pub mod alloc;
#[cfg(not(any(loom, shuttle)))]
mod allocator;
pub mod error;
pub mod frame;
pub mod gfp;
pub mod node;
pub mod pcp;
#[cfg(not(any(loom, shuttle)))]
pub mod platform;
pub mod stats;
pub mod sync;
pub mod zone;

#[cfg(not(any(loom, shuttle)))]
pub use allocator::{
    Allocator, Builder, Conservation, ConservationZone, Handle, Maintain, MisuseHook, Pages, RawParts,
    ZeroedPages,
};
pub use error::{AllocError, BuildError, FreeError};
pub use frame::{Order, Pfn};
pub use gfp::Gfp;
