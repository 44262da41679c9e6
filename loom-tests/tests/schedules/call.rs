//! What a thread can do.

/// A kind of call; the rest of it is drawn when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// A block, through the thread's cache or its handle.
    Alloc,
    /// A frame, of the kind that every thread asks for.
    AllocFrame,
    /// A block of a node, of some nodes, or by a policy of its own.
    AllocFrom,
    /// Single frames.
    AllocBulk,
    /// A run of frames.
    AllocExact,
    /// A block, without waiting.
    AllocNolock,
    /// Frames by address, or of the area that is kept for them.
    AllocContig,
    /// A piece of a page.
    AllocFragment,
    /// A block back, in any way.
    Free,
    /// A block back, without waiting.
    FreeNolock,
    /// Single frames back.
    FreeBulk,
    /// A block becomes plain numbers that all threads know, and any of them frees it.
    Parts,
    /// Memory is asked for until there is none, and given back.
    Exhaust,
    /// One more reference to a shared block, for others; or one becomes its owner, or writes.
    Share,
    /// Something goes to others.
    Leave,
    /// Something that others left.
    Fetch,
    /// Something goes where the end of the thread frees it.
    LeaveToEnd,
    /// All caches are drained, or this thread's is made to age.
    Drain,
    /// Pageblocks leave circulation, or come back.
    Isolate,
    /// Pageblocks leave the allocator, or come back.
    Offline,
    /// Free memory goes back to the system.
    Trim,
    /// Nodes are forbidden, allowed, or avoided.
    Nodes,
    /// A policy, or what the thread may not do, comes into force or ends.
    Scope,
    /// Numbers are read.
    Report,
    /// The thread's way to the allocator is dropped: from here on it only frees.
    LetGo,
}
