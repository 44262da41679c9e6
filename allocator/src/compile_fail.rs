//! What safe Rust refuses, by documentation tests.
//!
//! Each case is two programs that differ in what they do with the same values: one compiles and runs, so that the other cannot
//! fail for another reason than that difference. Nightly compilers compare the error's code too.

macro_rules! refused {
    ($(#[$why:meta])* $name:ident, $code:literal, $setup:literal, allowed: $allowed:literal, refused: $refused:literal) => {
        $(#[$why])*
        #[doc = concat!("```\n", refused!(@program $setup, $allowed), "```\n\n```compile_fail,", $code, "\n")]
        #[doc = concat!(refused!(@program $setup, $refused), "```")]
        struct $name;
    };
    (@program $setup:literal, $then:literal) => {
        concat!(
            "# use gfp::{Allocator, Gfp, MemPolicy, Order, Pages, RawParts};\n",
            "let allocator = Allocator::builder(64 << 20).build()?;\n",
            $setup, "\n", $then, "\n# Ok::<(), Box<dyn std::error::Error>>(())\n",
        )
    };
}

refused! {
    /// A block's bytes after it was freed.
    UseAfterFree, "E0382",
    "let mut pages = allocator.alloc_page(Gfp::KERNEL)?;",
    allowed: "pages.bytes_mut()[0].write(1); allocator.free_pages(pages);",
    refused: "allocator.free_pages(pages); pages.bytes_mut()[0].write(1);"
}

refused! {
    /// A block that is freed twice.
    DoubleFree, "E0382",
    "let (pages, other) = (allocator.alloc_page(Gfp::KERNEL)?, allocator.alloc_page(Gfp::KERNEL)?);",
    allowed: "drop(pages); allocator.free_pages(other);",
    refused: "drop(pages); allocator.free_pages(pages); drop(other);"
}

refused! {
    /// A second owner of a block.
    TwoOwners, "E0599",
    "let pages = allocator.alloc_page(Gfp::KERNEL)?;",
    allowed: "let shared = pages.into_shared(); let other = shared.clone(); drop((shared, other));",
    refused: "let other = pages.clone(); drop((pages, other));"
}

refused! {
    /// A block that is made out of nothing.
    MadeUp, "E0451",
    "let pages = allocator.alloc_page(Gfp::KERNEL)?;",
    allowed: "let other = pages; drop(other);",
    refused: "let other = Pages { ..pages }; drop(other);"
}

refused! {
    /// Bytes that outlive their block.
    BytesOutlive, "E0505",
    "let pages = allocator.alloc_page(Gfp::KERNEL)?; let bytes = pages.bytes();",
    allowed: "assert_eq!(bytes.len(), 4096); drop(pages);",
    refused: "drop(pages); assert_eq!(bytes.len(), 4096);"
}

refused! {
    /// Bytes that are read while somebody writes them.
    ReadWhileWritten, "E0502",
    "let mut pages = allocator.alloc_page(Gfp::KERNEL)?; let writer = pages.bytes_mut();",
    allowed: "writer[0].write(1); let reader = pages.bytes(); assert_eq!(reader.len(), 4096);",
    refused: "let reader = pages.bytes(); writer[0].write(1); assert_eq!(reader.len(), 4096);"
}

refused! {
    /// Bytes of a block that nobody wrote, as a value.
    Uninitialised, "E0308",
    "let pages = allocator.alloc_page(Gfp::KERNEL)?;",
    allowed: "let byte: u8 = pages.zero()[0]; assert_eq!(byte, 0);",
    refused: "let byte: u8 = pages.bytes()[0]; assert_eq!(byte, 0);"
}

refused! {
    /// Bytes that others share, written.
    SharedWritten, "E0594",
    "let mut shared = allocator.get_zeroed_page(Gfp::KERNEL)?.into_shared();",
    allowed: "shared.get_mut().expect(\"nobody else has it\")[0] = 1;",
    refused: "shared[0] = 1;"
}

refused! {
    /// One more reference while the bytes are written.
    SharedWhileWritten, "E0502",
    "let mut shared = allocator.get_zeroed_page(Gfp::KERNEL)?.into_shared();
     let writer = shared.get_mut().expect(\"nobody else has it\");",
    allowed: "writer[0] = 1; drop(shared.clone());",
    refused: "drop(shared.clone()); writer[0] = 1;"
}

refused! {
    /// A block that was split, as a whole.
    WholeAfterSplit, "E0382",
    "let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;",
    allowed: "assert_eq!(pages.len(), 16384); pages.split_page(drop);",
    refused: "pages.split_page(drop); assert_eq!(pages.len(), 16384);"
}

refused! {
    /// A handle on another thread.
    HandleElsewhere, "E0277",
    "let handle = allocator.handle()?;",
    allowed: "std::thread::spawn(move || drop(allocator)).join().unwrap(); drop(handle);",
    refused: "std::thread::spawn(move || drop(handle)).join().unwrap(); drop(allocator);"
}

refused! {
    /// A handle that two threads use.
    HandleShared, "E0277",
    "let handle = allocator.handle()?;",
    allowed: "std::thread::scope(|scope| _ = scope.spawn(|| allocator.alloc_page(Gfp::KERNEL).is_ok())); drop(handle);",
    refused: "std::thread::scope(|scope| _ = scope.spawn(|| handle.alloc_page(Gfp::KERNEL).is_ok())); drop(allocator);"
}

refused! {
    /// A scope that is left on another thread than the one that it narrows.
    ScopeElsewhere, "E0277",
    "let (scope, order) = (gfp::gfp::NoIoScope::enter(), Order::ZERO);",
    allowed: "std::thread::spawn(move || drop(order)).join().unwrap(); drop(scope);",
    refused: "std::thread::spawn(move || drop(scope)).join().unwrap(); drop(order);"
}

refused! {
    /// A policy that ends on another thread than the one that it is for.
    PolicyElsewhere, "E0277",
    "let (policy, order) = (allocator.mempolicy(MemPolicy::Local)?, Order::ZERO);",
    allowed: "std::thread::spawn(move || drop(order)).join().unwrap(); drop(policy);",
    refused: "std::thread::spawn(move || drop(policy)).join().unwrap(); drop(order);"
}

refused! {
    /// A cache of fragments that two threads use.
    FragmentCacheShared, "E0277",
    "let cache = allocator.page_frag_cache(None, Gfp::KERNEL);",
    allowed: "std::thread::spawn(move || cache.alloc(64).is_ok()).join().unwrap();",
    refused: "std::thread::scope(|scope| _ = scope.spawn(|| cache.alloc(64).is_ok()));"
}

refused! {
    /// The bytes of a fragment that was freed.
    FragmentOutlived, "E0505",
    "let cache = allocator.page_frag_cache(None, Gfp::KERNEL); let frag = cache.alloc(64)?; let bytes = &frag[..];",
    allowed: "assert_eq!(bytes.len(), 64); drop(frag);",
    refused: "drop(frag); assert_eq!(bytes.len(), 64);"
}

refused! {
    /// Plain numbers that are freed, without a word on where they come from.
    RawFree, "E0133",
    "let parts = allocator.alloc_page(Gfp::KERNEL)?.into_raw_parts();",
    allowed: "
     // SAFETY: the parts are of a block that was taken apart just now.
     unsafe { allocator.free_raw(parts) }?;",
    refused: "allocator.free_raw(parts)?;"
}

refused! {
    /// Plain numbers that become a block, without a word on where they come from.
    RawOwner, "E0133",
    "let parts: RawParts = allocator.alloc_page(Gfp::KERNEL)?.into_raw_parts();",
    allowed: "
     // SAFETY: the parts are of a block that was taken apart just now.
     drop(unsafe { allocator.from_raw_parts(parts) }?);",
    refused: "drop(allocator.from_raw_parts(parts)?);"
}

refused! {
    /// Memory that is lent, without a word on who else uses it.
    Lent, "E0133",
    "let lent = allocator.alloc_pages(Gfp::KERNEL, Order::new(10))?; let builder = Allocator::builder(lent.len()).max_order(9);",
    allowed: "
     // SAFETY: nobody uses the block until the allocator in it is gone.
     drop(unsafe { builder.from_raw(lent.as_ptr()) }.build()?);",
    refused: "drop(builder.from_raw(lent.as_ptr()).build()?);"
}

refused! {
    /// An order that is too large, where the compiler can see it.
    OrderTooLarge, "E0080",
    "",
    allowed: "const ORDER: Order = Order::new(18); assert!(allocator.alloc_pages(Gfp::KERNEL, ORDER).is_err());",
    refused: "const ORDER: Order = Order::new(19); assert!(allocator.alloc_pages(Gfp::KERNEL, ORDER).is_err());"
}
