//! Tying parts of an arena to NUMA nodes.

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::{PAGE_SIZE, sys};
use super::Arena;

/// How firmly memory is tied to its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Not at all: a page lies where the thread runs that touches it first.
    #[default]
    None,
    /// It comes from its node, or from another when that is full (`MPOL_PREFERRED`).
    Preferred,
    /// It comes from its node, or the process is killed (`MPOL_BIND`). Hugetlb pages are taken when the arena is built, and it
    /// is not built when its node has too few.
    Strict,
}

/// A part of an arena, behind the one before, that is to be tied to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSpan {
    /// Its length in bytes: whole pages of the arena's backing.
    pub bytes: usize,
    /// The system's number of the node.
    pub os_node: u32,
    /// How firmly it is to be tied.
    pub binding: Binding,
}

/// What became of tying a part to its node: an error is why a node that was only preferred is not.
pub type Tied = Result<(), PlatformError>;

impl Arena {
    /// Ties parts of the arena to nodes, one after the other from its start.
    ///
    /// # Errors
    /// When a part is not of whole pages inside of the arena, or the system refuses to tie one strictly.
    pub(crate) fn tie(&self, spans: &[NodeSpan]) -> Result<Vec<Tied>, PlatformError> {
        let mut offset = 0;
        let tie = |&NodeSpan { bytes, os_node, binding }: &NodeSpan| {
            let start = offset;
            self.range_start(start, bytes)?;
            offset += bytes;
            match self.bind_range(start, bytes, os_node, binding) {
                Err(refused @ PlatformError::SystemCall { .. }) if binding == Binding::Preferred => {
                    Ok(Err(refused))
                }
                tied => tied.map(Ok),
            }
        };
        spans.iter().map(tie).collect()
    }

    /// Ties a range to a node of the system, by the system's number of it, for pages that were not touched yet.
    ///
    /// # Errors
    /// When the range is not of whole pages inside of the arena, or the system refuses.
    pub(crate) fn bind_range(
        &self,
        offset: usize,
        len: usize,
        os_node: u32,
        binding: Binding,
    ) -> Result<(), PlatformError> {
        let policy = match binding {
            Binding::None => return Ok(()),
            Binding::Preferred => libc::MPOL_PREFERRED,
            Binding::Strict => libc::MPOL_BIND,
        };
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        // SAFETY: the range is the mapping's.
        unsafe { sys::bind_memory(start, len, policy, os_node) }
            .map_err(|errno| PlatformError::call(SystemCall::Mbind, Asked::Range { offset, len }, errno))
    }

    /// Asks the system on which of its nodes pages lie, by their offsets; `None` for a page that was never touched.
    ///
    /// # Errors
    /// When an offset lies outside of the arena, or the system refuses.
    pub fn locate(&self, offsets: &[usize]) -> Result<Vec<Option<u32>>, PlatformError> {
        let page = |&offset: &usize| {
            let start = offset / PAGE_SIZE * PAGE_SIZE;
            let outside = PlatformError::Range { offset, len: PAGE_SIZE, arena_len: self.len() };
            self.range_start(start, PAGE_SIZE)?.ok_or(outside)
        };
        let pages = offsets.iter().map(page).collect::<Result<Vec<_>, _>>()?;
        let nodes = sys::locate_pages(&pages).map_err(|errno| {
            PlatformError::call(SystemCall::MovePages, Asked::Bytes(pages.len() * PAGE_SIZE), errno)
        })?;
        Ok(nodes.into_iter().map(|node| u32::try_from(node).ok()).collect())
    }
}

/// An arena, and what became of tying each of its spans to a node.
pub(super) type Built = (Arena, Vec<Tied>);
