//! Cells whose accesses loom can check.

#[cfg(loom)]
pub use loom::cell::UnsafeCell;
use std::fmt;

/// `core::cell::UnsafeCell` with loom's face.
///
/// ```
/// use gfp::sync::UnsafeCell;
///
/// let cell = UnsafeCell::new(1);
/// // SAFETY: nobody else has a pointer into the cell.
/// cell.with_mut(|value| unsafe { *value += 1 });
/// // SAFETY: as above.
/// assert_eq!(cell.with(|value| unsafe { *value }), 2);
/// assert_eq!(cell.into_inner(), 2);
/// ```
#[cfg(not(loom))]
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(original::UnsafeCell<T>);

#[cfg(not(loom))]
#[expect(clippy::disallowed_types, reason = "the one door to the original")]
mod original {
    pub(super) type UnsafeCell<T> = core::cell::UnsafeCell<T>;
}

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// Makes a cell that holds `value`.
    #[inline(always)]
    pub const fn new(value: T) -> Self {
        Self(original::UnsafeCell::new(value))
    }

    /// Takes the value out.
    #[inline(always)]
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

#[cfg(not(loom))]
impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `f` with a pointer through which it may read.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer through which it may read and write.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// An exclusive access to a cell that lasts as long as a guard; under loom any other access meanwhile is an
/// error.
///
/// Nothing outside of loom.
pub(super) struct Exclusive<T> {
    #[cfg(loom)]
    pointer: Option<loom::cell::MutPtr<T>>,
    #[cfg(not(loom))]
    pointer: core::marker::PhantomData<*mut T>,
}

impl<T> Exclusive<T> {
    /// Begins the access.
    #[inline(always)]
    pub(super) fn begin(cell: &UnsafeCell<T>) -> Self {
        #[cfg(loom)]
        return Self { pointer: Some(cell.get_mut()) };
        #[cfg(not(loom))]
        {
            let _ = cell;
            Self { pointer: core::marker::PhantomData }
        }
    }

    /// Ends the access; to be called before the store that lets others in.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        #[cfg(loom)]
        drop(self.pointer.take());
    }

    /// Points to the value in `cell`, with which the access began.
    #[inline(always)]
    pub(super) fn pointer(&self, cell: &UnsafeCell<T>) -> *mut T {
        #[cfg(loom)]
        {
            let _ = cell;
            self.pointer.as_ref().expect("the access has not ended").with(|pointer| pointer)
        }
        #[cfg(not(loom))]
        cell.with_mut(|pointer| pointer)
    }
}

impl<T> fmt::Debug for Exclusive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exclusive")
    }
}
