//! The memory of a slice in models: loom's atomics are not plain memory.

use super::{Zeroable, ZeroedSliceError};

/// Elements built one by one.
pub(super) struct Memory<T>(Box<[T]>);

impl<T: Zeroable> Memory<T> {
    pub(super) fn new(len: usize) -> Result<Self, ZeroedSliceError> {
        Ok(Self((0..len).map(|_| T::zeroed()).collect()))
    }

    pub(super) fn slice(&self) -> &[T] {
        &self.0
    }

    pub(super) fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
