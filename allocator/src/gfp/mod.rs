//! Request flags, and what each layer derives from them.
//!
//! A request is a mask ([`Gfp`]) and an order. Everything else that the allocator must know follows from the mask:
//!
//! | question | answer |
//! |---|---|
//! | may this request exist at all? | [`check_request`] |
//! | the highest zone it may use | [`gfp_zone`] |
//! | the pageblocks it should come from | [`gfp_migratetype`] |
//! | the watermark and reserves of the first attempt | [`AllocFlags::fast_path`] |
//! | the same once that failed | [`gfp_to_alloc_flags`], [`reserve_flags`] |
//! | what the calling thread may not do now | [`current_gfp_context`] |
//! | what the whole process may not do now | [`gfp_allowed_mask`] |
//! | what ends the thread's requests early | [`CancelToken`], [`current_stop`] |
//!
//! All of it is `const` where it depends on the mask alone, so a mask known at compile time costs nothing.
//! Bit values, names and derivations are those of Linux 6.x.
//!
//! ```
//! use gfp::gfp::{
//!     AllocFlags, BadRequest, Gfp, MigrateType, Scopes, ZoneType, check_request, gfp_migratetype, gfp_to_alloc_flags,
//!     gfp_zone, reserve_flags,
//! };
//!
//! assert_eq!(check_request(Gfp::KERNEL, 3, 10), Ok(()));
//! assert_eq!(check_request(Gfp::KERNEL, 11, 10), Err(BadRequest::Order { order: 11, max_order: 10 }));
//! assert_eq!(gfp_zone(Gfp::HIGHUSER_MOVABLE), Ok(ZoneType::Movable));
//! assert_eq!(gfp_migratetype(Gfp::HIGHUSER_MOVABLE), Ok(MigrateType::Movable));
//!
//! // Who cannot wait may use a part of the reserve; who frees memory, all of it.
//! let atomic = gfp_to_alloc_flags(Gfp::ATOMIC, 0);
//! assert!(atomic.contains(AllocFlags::MIN_RESERVE | AllocFlags::NON_BLOCK));
//! assert_eq!(reserve_flags(Gfp::KERNEL, Scopes::MEMALLOC), AllocFlags::NO_WATERMARKS);
//! assert_eq!(reserve_flags(Gfp::KERNEL | Gfp::NOMEMALLOC, Scopes::MEMALLOC), AllocFlags::empty());
//! ```

mod alloc_flags;
mod cancel;
mod flags;
mod migrate;
mod request;
mod scope;
mod text;
mod zone_type;

pub use alloc_flags::{AllocFlags, WmarkIndex, gfp_to_alloc_flags, reserve_flags};
#[cfg(not(loom))]
pub(crate) use cancel::DeadlineScope;
pub use cancel::{CancelScope, CancelToken, Stop, current_stop, unless_stopped};
pub use flags::{Gfp, gfp_allowed_mask, gfp_nested_mask, set_gfp_allowed_mask};
pub use migrate::{MigrateType, MovableAndReclaimable, NR_MIGRATE_TYPES, PCPTYPES, gfp_migratetype};
pub use request::{BadRequest, check_request};
pub use scope::{
    MemallocScope, NoFsScope, NoIoScope, Scopes, apply_scopes, current_gfp_context, current_scopes,
};
pub use text::ParseGfpError;
pub use zone_type::{BadZoneModifiers, NR_ZONE_TYPES, ZoneType, gfp_zone};
