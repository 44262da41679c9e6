//! The allocators under test, and the one place that turns a name into an allocator.

mod buddy_frames;
mod buddy_heap;
mod empty;
mod gfp;
mod global;
mod mapping;

pub use buddy_frames::BuddyFrames;
pub use buddy_heap::BuddyHeap;
pub use empty::Empty;
pub use gfp::{WithHandle, WithoutHandle, gfp_mask};
pub use global::Global;

use ::gfp::platform::Backing;

use crate::rival::{Rival, RivalThread};

/// The harness's own cost: an allocator whose blocks are not memory. Nothing may read or write them.
pub const EMPTY: &str = "empty";

/// The names that are gfp itself; every other one but [`EMPTY`] is a rival of it.
pub const OURS: [&str; 2] = ["gfp", "gfp-tls"];

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
    ($memory:ident; $($(#[$attribute:meta])* $name:literal => $make:expr;)+) => {
        /// The allocators that exist in this build, in the order of the report.
        pub const NAMES: &[&str] = &[$($(#[$attribute])* $name,)+];

        /// Makes the allocator called `name`, with an arena in such memory where it has one, and shows
        /// it to the visitor.
        ///
        /// # Errors
        /// No allocator has that name (the message lists those that exist), or its arena cannot be had.
        pub fn with_rival<V: Visitor>(
            name: &str,
            memory: impl Into<Memory>,
            visitor: V,
        ) -> anyhow::Result<V::Output> {
            let $memory = memory.into();
            $($(#[$attribute])* if name == $name {
                return Ok(visitor.visit($make));
            })+
            Err(unknown(name))
        }
    };
}

// A new allocator is one line here.
registry! {
    memory;
    "empty" => Empty::new();
    "gfp" => WithHandle::new(memory)?;
    "gfp-tls" => WithoutHandle::new(memory)?;
    #[cfg(feature = "rivals")]
    "mimalloc" => Global::new("mimalloc", mimalloc::MiMalloc);
    #[cfg(feature = "rivals")]
    "jemalloc" => Global::new("jemalloc", tikv_jemallocator::Jemalloc);
    #[cfg(feature = "rivals")]
    "snmalloc" => Global::new("snmalloc", snmalloc_rs::SnMalloc);
    "buddy-heap" => BuddyHeap::new(memory.bytes)?;
    "buddy-frames" => BuddyFrames::new(memory.bytes)?;
    "system" => Global::new("system", std::alloc::System);
}

/// Checks that every name is an allocator of this build.
///
/// # Errors
/// The first one that is not, with the names that exist.
pub fn check_names<S: AsRef<str>>(names: &[S]) -> anyhow::Result<()> {
    match names.iter().map(AsRef::as_ref).find(|name| !NAMES.contains(name)) {
        Some(name) => Err(unknown(name)),
        None => Ok(()),
    }
}

fn unknown(name: &str) -> anyhow::Error {
    let hint = if cfg!(feature = "rivals") { "" } else { " (more with the feature \"rivals\")" };
    anyhow::anyhow!("there is no allocator \"{name}\"; there are: {}{hint}", NAMES.join(", "))
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
        for &name in NAMES {
            assert_eq!(with_rival(name, 16 << 20, Name).unwrap(), name);
        }
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
