//! Cells whose accesses loom can check, and shuttle those that last.

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
#[cfg_attr(not(shuttle), repr(transparent))]
pub struct UnsafeCell<T: ?Sized> {
    /// Whether an [`Exclusive`] access has begun and not ended.
    #[cfg(shuttle)]
    taken: core::cell::Cell<bool>,
    value: original::UnsafeCell<T>,
}

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
        Self {
            #[cfg(shuttle)]
            taken: core::cell::Cell::new(false),
            value: original::UnsafeCell::new(value),
        }
    }

    /// Takes the value out.
    #[inline(always)]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

#[cfg(not(loom))]
impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `f` with a pointer through which it may read.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.value.get())
    }

    /// Calls `f` with a pointer through which it may read and write.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.value.get())
    }
}

/// An exclusive access to a cell that lasts as long as a guard; under loom any other access meanwhile is an
/// error, under shuttle a second one that lasts.
///
/// Nothing outside of models.
pub(super) struct Exclusive<T> {
    #[cfg(loom)]
    pointer: Option<loom::cell::MutPtr<T>>,
    #[cfg(shuttle)]
    taken: Option<core::ptr::NonNull<core::cell::Cell<bool>>>,
    #[cfg(not(loom))]
    pointer: core::marker::PhantomData<*mut T>,
}

impl<T> Exclusive<T> {
    /// Begins the access.
    #[inline(always)]
    pub(super) fn begin(cell: &UnsafeCell<T>) -> Self {
        #[cfg(loom)]
        return Self { pointer: Some(cell.get_mut()) };
        #[cfg(shuttle)]
        assert!(!cell.taken.replace(true), "two have the cell at once");
        #[cfg(not(loom))]
        {
            let _ = cell;
            Self {
                #[cfg(shuttle)]
                taken: Some((&cell.taken).into()),
                pointer: core::marker::PhantomData,
            }
        }
    }

    /// Ends the access; to be called before the store that lets others in.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        #[cfg(loom)]
        drop(self.pointer.take());
        #[cfg(shuttle)]
        if let Some(taken) = self.taken.take() {
            // SAFETY: whoever made this has a reference to the cell until the access has ended.
            unsafe { taken.as_ref() }.set(false);
        }
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

/// As loom's pointer does.
#[cfg(shuttle)]
impl<T> Drop for Exclusive<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T> fmt::Debug for Exclusive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exclusive")
    }
}

/// A shared access to a cell that lasts as long as a guard; under loom an exclusive one meanwhile is an error.
///
/// Nothing outside of models.
pub(super) struct Shared<T> {
    #[cfg(loom)]
    pointer: Option<loom::cell::ConstPtr<T>>,
    #[cfg(not(loom))]
    pointer: core::marker::PhantomData<*const T>,
}

impl<T> Shared<T> {
    /// Begins the access.
    pub(super) fn begin(cell: &UnsafeCell<T>) -> Self {
        #[cfg(loom)]
        return Self { pointer: Some(cell.get()) };
        #[cfg(not(loom))]
        {
            let _ = cell;
            Self { pointer: core::marker::PhantomData }
        }
    }

    /// Ends the access; to be called before the change that lets others in.
    pub(super) fn end(&mut self) {
        #[cfg(loom)]
        drop(self.pointer.take());
        #[cfg(not(loom))]
        let _ = self.pointer;
    }

    /// Points to the value in `cell`, with which the access began.
    pub(super) fn pointer(&self, cell: &UnsafeCell<T>) -> *const T {
        #[cfg(loom)]
        {
            let _ = cell;
            self.pointer.as_ref().expect("the access has not ended").with(|pointer| pointer)
        }
        #[cfg(not(loom))]
        cell.with(|pointer| pointer)
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
