//! The allocators under test, and the one place that turns a name into an allocator.
//!
//! An allocator with the functions of malloc needs no line here: `so:` and the path of its library are its name
//! ([`shared_object`]).

mod buddy_frames;
mod buddy_heap;
mod empty;
mod gfp;
mod global;
mod mapping;
mod per_node;
pub mod shared_object;
mod slow;
mod spare_mappings;
mod system_calls;
mod talc_heap;

pub use buddy_frames::BuddyFrames;
pub use buddy_heap::BuddyHeap;
pub use empty::Empty;
pub use gfp::{WithHandle, WithoutHandle, gfp_mask};
pub use global::Global;
pub use per_node::PerNode;
pub use slow::Slow;
pub use system_calls::SystemCalls;
pub use talc_heap::TalcHeap;

use ::gfp::platform::Backing;

use crate::rival::{Rival, RivalThread};

/// The harness's own cost: an allocator whose blocks are not memory. Nothing may read or write them.
pub const EMPTY: &str = "empty";

/// gfp, each thread with a handle.
pub const GFP: &str = "gfp";

/// gfp without handles.
pub const WITHOUT_HANDLE: &str = "gfp-tls";

/// gfp with an allocator for each node; only on request, as it makes sense on several nodes only.
pub const PER_NODE: &str = "gfp-node";

/// The arena of an allocator that has one.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Its size in bytes.
    pub bytes: usize,
    /// The pages behind gfp's; others have what the system gives them.
    pub backing: Backing,
}

impl From<usize> for Memory {
    fn from(bytes: usize) -> Self {
        Self { bytes, backing: Backing::default() }
    }
}

/// What is done with an allocator whose type is known only once its name is.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Works with the allocator. `B` is its block, the same type for every thread.
    fn visit<R, B>(self, rival: R) -> Self::Output
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>;
}

macro_rules! registry {
    (
        $memory:ident;
        by_default: $($(#[$attribute:meta])* $name:literal: $bias:expr => $make:expr;)+
        on_request: $($named:literal: $named_bias:expr => $make_named:expr;)+
    ) => {
        /// The allocators of this build that are measured when none is named, in the order of the report.
        pub const NAMES: &[&str] = &[$($(#[$attribute])* $name,)+];

        /// The allocators that are measured only when they are named.
        pub const ON_REQUEST: &[&str] = &[$($named,)+];

        /// Makes the allocator called `name`, with an arena in such memory where it has one, and shows
        /// it to the visitor.
        ///
        /// # Errors
        /// No allocator has that name (the message lists those that exist), its arena cannot be had, or the library that it
        /// names lacks something.
        pub fn with_rival<V: Visitor>(
            name: &str,
            memory: impl Into<Memory>,
            visitor: V,
        ) -> anyhow::Result<V::Output> {
            let $memory = memory.into();
            $($(#[$attribute])* if name == $name {
                return Ok(visitor.visit($make));
            })+
            $(if name == $named {
                return Ok(visitor.visit($make_named));
            })+
            if let Some(path) = name.strip_prefix(shared_object::PREFIX) {
                return shared_object::with_library(name, path, visitor);
            }
            Err(unknown(name))
        }

        /// Says in a sentence or two what the allocator called `name` does that others do not, or does not do that others do:
        /// zeroing, headers, touching memory, locks. Nothing for a name that no allocator has.
        #[must_use]
        pub fn bias(name: &str) -> Option<&'static str> {
            match name {
                $($(#[$attribute])* $name => Some($bias),)+
                $($named => Some($named_bias),)+
                _ => name.starts_with(shared_object::PREFIX).then_some(shared_object::BIAS),
            }
        }
    };
}

// A new allocator is one line here.
registry! {
    memory;
    by_default:
    "empty": empty::BIAS => Empty::new();
    "gfp": gfp::BIAS => WithHandle::new(memory)?;
    "gfp-tls": gfp::BIAS_WITHOUT_HANDLE => WithoutHandle::new(memory)?;
    #[cfg(feature = "rivals")]
    "mimalloc": global::MIMALLOC_BIAS => Global::new("mimalloc", mimalloc::MiMalloc);
    #[cfg(feature = "rivals")]
    "jemalloc": global::JEMALLOC_BIAS => Global::new("jemalloc", tikv_jemallocator::Jemalloc);
    #[cfg(feature = "rivals")]
    "snmalloc": global::SNMALLOC_BIAS => Global::new("snmalloc", snmalloc_rs::SnMalloc);
    "buddy-heap": buddy_heap::BIAS => BuddyHeap::new(memory.bytes)?;
    "buddy-frames": buddy_frames::BIAS => BuddyFrames::new(memory.bytes)?;
    "talc": talc_heap::BIAS => TalcHeap::new(memory.bytes)?;
    "glibc": global::GLIBC_BIAS => Global::new("glibc", std::alloc::System);
    "mmap": system_calls::BIAS => SystemCalls::default();
    on_request:
    "gfp-node": per_node::BIAS => PerNode::new(memory)?;
    "gfp-slow": slow::BIAS => Slow::new("gfp-slow", WithHandle::new(memory)?);
}

/// Tells whether a name is that of gfp, in any form.
#[must_use]
pub fn is_ours(allocator: &str) -> bool {
    allocator.strip_prefix(GFP).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Tells whether an allocator is a rival: not gfp in any form, and not what allocates nothing.
#[must_use]
pub fn is_rival(allocator: &str) -> bool {
    allocator != EMPTY && !is_ours(allocator)
}

/// Checks that every name is an allocator of this build.
///
/// # Errors
/// The first one that is not, with the names that exist or what its library lacks.
pub fn check_names<S: AsRef<str>>(names: &[S]) -> anyhow::Result<()> {
    names.iter().map(AsRef::as_ref).try_for_each(|name| match name.strip_prefix(shared_object::PREFIX) {
        Some(path) => shared_object::check(path),
        None if NAMES.contains(&name) || ON_REQUEST.contains(&name) => Ok(()),
        None => Err(unknown(name)),
    })
}

fn unknown(name: &str) -> anyhow::Error {
    let hint = if cfg!(feature = "rivals") { "" } else { " (more with the feature \"rivals\")" };
    let names = [NAMES, ON_REQUEST].concat().join(", ");
    anyhow::anyhow!(
        "there is no allocator \"{name}\"; there are: {names}, and {}PATH for a library with malloc's functions{hint}",
        shared_object::PREFIX
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Name;

    impl Visitor for Name {
        type Output = &'static str;

        fn visit<R, B>(self, rival: R) -> &'static str
        where
            R: Rival + Send + 'static,
            B: Send + 'static,
            for<'a> R::Thread<'a>: RivalThread<Block = B>,
        {
            rival.name()
        }
    }

    #[test]
    fn every_listed_name_makes_the_allocator_of_that_name() {
        for &name in NAMES.iter().chain(ON_REQUEST) {
            assert_eq!(with_rival(name, 16 << 20, Name).unwrap(), name);
        }
    }

    #[test]
    fn every_allocator_says_what_sets_it_apart_and_no_other_name_does() {
        let mut texts: Vec<&str> = NAMES.iter().chain(ON_REQUEST).map(|name| bias(name).unwrap()).collect();
        texts.push(bias("so:/lib/liballocator.so").unwrap());
        assert!(texts.iter().all(|text| text.ends_with('.') && !text.contains("  ")), "{texts:?}");
        let all = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), all, "no two are the same");
        assert_eq!(bias("tcmalloc"), None);
    }

    #[test]
    fn names_are_checked_before_anything_is_measured() {
        check_names(&["gfp", "gfp-slow", "mmap"]).unwrap();
        assert!(check_names(&["gfp", "so:/nowhere/x.so"]).unwrap_err().to_string().contains("/nowhere/x.so"));
    }

    #[test]
    fn gfp_has_the_pages_asked_for_or_is_not_built() {
        let of_2m = |name| with_rival(name, Memory { bytes: 16 << 20, backing: Backing::Huge2M }, Name);
        match of_2m("gfp") {
            Ok(name) => assert_eq!(name, "gfp"),
            Err(error) => assert!(format!("{error:#}").contains("hugetlb pages of 2 MiB"), "{error:#}"),
        }
        assert_eq!(of_2m("buddy-heap").unwrap(), "buddy-heap");
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_exist() {
        let message = with_rival("tcmalloc", 16 << 20, Name).unwrap_err().to_string();
        assert!(message.contains("tcmalloc"), "{message}");
        assert!(NAMES.iter().all(|name| message.contains(name)), "{message}");
    }
}
