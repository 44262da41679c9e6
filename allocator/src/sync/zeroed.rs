//! Memory that starts as zeroes and costs nothing until it is touched.

use super::CachePadded;
use super::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};
use crate::fault::{Errno, SystemCall};
use std::fmt;
use std::ops::{Deref, DerefMut};

#[cfg(not(any(loom, shuttle)))]
#[path = "zeroed/pages.rs"]
mod memory;
#[cfg(any(loom, shuttle))]
#[path = "zeroed/model.rs"]
mod memory;

/// A type for which memory full of zeroes is a value.
///
/// Structs get it from `zeroable!`, which checks every field.
///
/// ```
/// use gfp::sync::{Zeroable, atomic::AtomicU32};
///
/// assert_eq!(<[u64; 3]>::zeroed(), [0; 3]);
/// assert_eq!(AtomicU32::zeroed().into_inner(), 0);
/// ```
///
/// # Safety
///
/// A value all of whose bytes are zero must be valid, equal to what [`zeroed`](Self::zeroed) returns, and
/// need no drop.
pub unsafe trait Zeroable: Sized {
    /// Makes the value that zeroes mean; models, whose atomics are not plain memory, are built from it.
    fn zeroed() -> Self;
}

macro_rules! zeroable_by {
    ($($type:ty => $zero:expr),+ $(,)?) => { $(
        // SAFETY: an integer or bool, or an atomic one, of which all bytes are zero is 0 or false.
        unsafe impl Zeroable for $type {
            #[inline]
            fn zeroed() -> Self {
                $zero
            }
        }
    )+ };
}
zeroable_by! {
    u8 => 0, u16 => 0, u32 => 0, u64 => 0, u128 => 0, usize => 0,
    i8 => 0, i16 => 0, i32 => 0, i64 => 0, i128 => 0, isize => 0, bool => false,
    AtomicBool => Self::new(false), AtomicU8 => Self::new(0), AtomicU16 => Self::new(0), AtomicU32 => Self::new(0),
    AtomicU64 => Self::new(0), AtomicUsize => Self::new(0),
}

/// What a model need not see; elsewhere it is the same type as above.
#[cfg(any(loom, shuttle))]
#[expect(clippy::disallowed_types, reason = "the original")]
mod original {
    use super::Zeroable;

    zeroable_by! { core::sync::atomic::AtomicU64 => Self::new(0) }
}

// SAFETY: an array has no bytes but those of its elements.
unsafe impl<T: Zeroable, const N: usize> Zeroable for [T; N] {
    #[inline]
    fn zeroed() -> Self {
        std::array::from_fn(|_| T::zeroed())
    }
}

// SAFETY: padding may hold anything, and the one field is zeroable.
unsafe impl<T: Zeroable> Zeroable for CachePadded<T> {
    #[inline]
    fn zeroed() -> Self {
        Self::new(T::zeroed())
    }
}

/// Defines a struct and makes it [`Zeroable`], which every field must be.
///
/// The `unsafe impl` is in here, with the proof, so that modules that deny unsafe code can use it.
///
/// ```text
/// zeroable! {
///     /// One cache line of the buddy.
///     #[derive(Debug)]
///     #[repr(C, align(64))]
///     pub(crate) struct Leaf {
///         free: [u64; 4],
///         counts: [u16; 8],
///     }
/// }
/// ```
macro_rules! zeroable {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)?
    }) => {
        $(#[$meta])* $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),+ }
        $crate::sync::zeroable!(@impl $name { $($field: $type),+ });
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident ( $field_vis:vis $type:ty $(,)? );) => {
        $(#[$meta])* $vis struct $name($field_vis $type);
        $crate::sync::zeroable!(@impl $name { 0: $type });
    };
    (@impl $name:ident { $($field:tt: $type:ty),+ }) => {
        const _: () = {
            #[expect(unsafe_code, reason = "every field was required to be zeroable, which is the contract")]
            // SAFETY: a struct has no bytes but those of its fields, of which zeroes are valid values, and
            // padding, which may hold anything; a struct without fields that need a drop needs none, and one
            // with a `Drop` of its own is refused when a slice of it is made.
            unsafe impl $crate::sync::Zeroable for $name {
                #[inline]
                fn zeroed() -> Self {
                    Self { $($field: <$type as $crate::sync::Zeroable>::zeroed()),+ }
                }
            }
        };
    };
}
pub(crate) use zeroable;

/// A boxed slice whose elements start as zeroes; parts that nobody touches cost address space only.
///
/// The start is aligned to 64 bytes, and to 4096 from 64 KiB on, which is a mapping of its own. In models it is built element by element.
///
/// ```
/// use gfp::sync::ZeroedSlice;
///
/// // 128 MiB, of which two pages are touched.
/// let mut table = ZeroedSlice::<u64>::new(1 << 24)?;
/// table[1 << 23] = 7;
/// assert_eq!((table[0], table[1 << 23], table.len()), (0, 7, 1 << 24));
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
pub struct ZeroedSlice<T: Zeroable> {
    memory: memory::Memory<T>,
}

/// The system refused memory for a [`ZeroedSlice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroedSliceError {
    /// The size that was asked for, in bytes; `usize::MAX` when it is not even a number of that type.
    pub bytes: usize,
    /// The reason that the system gave; ENOMEM when it was not even asked.
    pub errno: Errno,
}

impl<T: Zeroable> ZeroedSlice<T> {
    /// Makes a slice of `len` elements, all zero.
    ///
    /// # Errors
    ///
    /// When the memory cannot be had; the error says how many bytes were asked for.
    pub fn new(len: usize) -> Result<Self, ZeroedSliceError> {
        memory::Memory::new(len).map(|memory| Self { memory })
    }
}

impl<T: Zeroable> Deref for ZeroedSlice<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        self.memory.slice()
    }
}

impl<T: Zeroable> DerefMut for ZeroedSlice<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        self.memory.slice_mut()
    }
}

impl<T: Zeroable> fmt::Debug for ZeroedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The elements are not shown: to read them all would touch memory that costs nothing yet.
        f.debug_struct("ZeroedSlice").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for ZeroedSliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mmap of {} bytes for metadata failed: {}", self.bytes, self.errno)?;
        SystemCall::Mmap.remedy(self.errno).map_or(Ok(()), |text| write!(f, "; {text}"))
    }
}

impl std::error::Error for ZeroedSliceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    #![deny(unsafe_code)]
    use super::*;
    use std::sync::atomic::Ordering;

    crate::sync::zeroable! {
        /// A struct as a policy module would define it.
        #[derive(Debug)]
        #[repr(C, align(64))]
        pub(crate) struct Leaf {
            /// Free frames.
            pub(crate) free: [u64; 4],
            counts: [AtomicU16; 8],
        }
    }
    crate::sync::zeroable! {
        /// A newtype.
        #[derive(Debug, PartialEq)]
        struct Word(u32);
    }

    #[test]
    fn elements_start_as_zero_and_can_be_changed() {
        let mut leaves = ZeroedSlice::<Leaf>::new(100).unwrap();
        assert_eq!(leaves.len(), 100);
        assert!(leaves.iter().all(|leaf| leaf.free == [0; 4]));
        leaves[7].free[3] = 9;
        leaves[7].counts[1].store(5, Ordering::Relaxed);
        assert_eq!((leaves[7].free[3], leaves[7].counts[1].load(Ordering::Relaxed)), (9, 5));
        assert_eq!(ZeroedSlice::<Word>::new(1).unwrap()[0], Word::zeroed());
    }

    #[test]
    fn starts_are_aligned_to_lines_and_large_ones_to_pages() {
        for (bytes, align) in [(1, 64), (1000, 64), (64 << 10, 4096), (1 << 20, 4096)] {
            let slice = ZeroedSlice::<u8>::new(bytes).unwrap();
            assert_eq!(slice.as_ptr().addr() % align, 0, "{bytes} bytes");
        }
    }

    #[test]
    fn a_slice_may_be_empty() {
        assert!(ZeroedSlice::<u64>::new(0).unwrap().is_empty());
    }

    #[test]
    fn a_refusal_names_the_bytes_that_were_asked_for() {
        let refused = ZeroedSlice::<u64>::new(usize::MAX / 16).unwrap_err();
        assert_eq!(refused.bytes, usize::MAX / 16 * 8);
        assert!(refused.to_string().contains(&refused.bytes.to_string()));
        assert_eq!(
            std::error::Error::source(&refused).map(ToString::to_string),
            Some(refused.errno.to_string())
        );
        assert_eq!(ZeroedSlice::<u64>::new(usize::MAX).unwrap_err().bytes, usize::MAX);
    }

    #[test]
    fn untouched_parts_cost_nothing() {
        let resident_pages = || -> usize {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse().unwrap()
        };
        let before = resident_pages();
        let slice = ZeroedSlice::<u64>::new(1 << 27).unwrap();
        assert_eq!(slice[1 << 26], 0);
        let pages = resident_pages().saturating_sub(before);
        assert!(pages < 16 << 8, "{pages} pages of 4 KiB for 1 GiB that was hardly touched");
    }

    #[test]
    fn a_look_at_a_slice_does_not_touch_its_elements() {
        let slice = ZeroedSlice::<u64>::new(1 << 27).unwrap();
        assert_eq!(format!("{slice:?}"), "ZeroedSlice { len: 134217728, .. }");
    }

    #[test]
    fn what_is_made_of_zeroables_is_zero() {
        let words = <[Word; 3]>::zeroed();
        assert_eq!(words, [Word(0), Word(0), Word(0)]);
        assert_eq!(AtomicU16::zeroed().load(Ordering::Relaxed), 0);
    }
}
