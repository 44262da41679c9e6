//! Every function of the public interface is shown by an example that runs: in its own documentation; or in that of its
//! type or its module, where the example calls it by name; or in that of another function of its type, which it names
//! ("An example is at …").
//!
//! What a macro writes is not seen.

mod attributes;
mod crate_tree;
mod example;
mod functions;

use std::path::Path;

use crate_tree::CrateTree;
use example::Example;
use functions::{PublicFunction, public_functions};

/// Answers whether an example shows `function`, which is one of `all`.
fn is_shown(function: &PublicFunction, all: &[PublicFunction]) -> bool {
    let calls = |doc: &String| Example::all_in(doc).iter().any(|example| example.calls(function));
    let own_doc = function.own_doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let points_to = |sibling: &PublicFunction| {
        sibling.receiver.owner() == function.receiver.owner()
            && own_doc.contains(&format!("An example is at [`{}`](Self::{0})", sibling.name))
    };
    // An example of a function's own shows it, whatever it calls.
    !Example::all_in(&function.own_doc).is_empty()
        || function.page_docs.iter().any(calls)
        || all.iter().any(|sibling| points_to(sibling) && calls(&sibling.own_doc))
}

#[test]
fn every_public_function_has_an_example_that_runs() {
    let functions = public_functions(&CrateTree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    let lacking = functions.iter().filter(|function| !is_shown(function, &functions));
    let lacking: Vec<String> =
        lacking.map(|function| format!("{}: {}", function.file.display(), function.path)).collect();
    assert!(lacking.is_empty(), "{} of {} lack one:\n{}", lacking.len(), functions.len(), lacking.join("\n"));
}

#[test]
fn what_can_be_reached_is_found_and_nothing_else() {
    let functions = public_functions(&CrateTree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    let finds = |path: &str| functions.iter().any(|function| function.path == path);
    for reachable in [
        "Allocator::alloc_pages",
        "zone::Zone::take_range",
        "alloc::take_cached",
        // Of a trait; of a type inside `bitflags!` and one inside `zeroable!`; by a glob; of a module that is re-exported.
        "zone::watermark::FreeCounts::nr_free",
        "gfp::AllocFlags::wmark",
        "sync::OwnedCounter::add",
        "sync::OwnedCell::try_claim",
        "sync::thread::spawn",
    ] {
        assert!(finds(reachable), "{reachable} is missing");
    }
    for private in [
        "alloc::Domain::orphan",
        "alloc::alloc_pages",
        "alloc::freelist::alloc_pages",
        "sync::asymmetric::light",
    ] {
        assert!(!finds(private), "{private} is not public");
    }
}
