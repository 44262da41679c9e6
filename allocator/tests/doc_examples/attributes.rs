//! What attributes say: the documentation, and whether the item is there.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Lit, Meta, Token, Visibility};

/// The documentation that `attrs` hold, a line each.
pub(crate) fn doc(attrs: &[Attribute]) -> String {
    let lines = metas(attrs);
    lines.iter().filter_map(|meta| text_of(meta, "doc")).map(|line| line + "\n").collect()
}

/// Tells whether the documentation with every feature has the item.
pub(crate) fn is_there(attrs: &[Attribute]) -> bool {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).all(|attr| parts(&attr.meta).iter().all(holds))
}

pub(crate) fn is_hidden(attrs: &[Attribute]) -> bool {
    let docs = attrs.iter().filter(|attr| attr.path().is_ident("doc"));
    docs.flat_map(|attr| attr.parse_args::<Meta>()).any(|meta| meta.path().is_ident("hidden"))
}

pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The text of an attribute such as `#[path = "…"]`.
pub(crate) fn text_of(meta: &Meta, name: &str) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    let Expr::Lit(value) = &pair.value else { return None };
    let Lit::Str(text) = &value.lit else { return None };
    pair.path.is_ident(name).then(|| text.value())
}

/// The attributes, with those of a `cfg_attr` whose condition holds.
fn metas(attrs: &[Attribute]) -> Vec<Meta> {
    let mut found = Vec::new();
    for attr in attrs {
        if attr.path().is_ident("cfg_attr") {
            let mut parts = parts(&attr.meta).into_iter();
            if parts.next().is_some_and(|condition| holds(&condition)) {
                found.extend(parts);
            }
        } else {
            found.push(attr.meta.clone());
        }
    }
    found
}

fn parts(meta: &Meta) -> Vec<Meta> {
    let Meta::List(list) = meta else { return Vec::new() };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parts.expect("a list of attributes").into_iter().collect()
}

/// Tells whether a condition of `cfg` holds: every feature is on, and this is neither a test nor a model.
fn holds(condition: &Meta) -> bool {
    let path = condition.path();
    if path.is_ident("all") {
        parts(condition).iter().all(holds)
    } else if path.is_ident("any") {
        parts(condition).iter().any(holds)
    } else if path.is_ident("not") {
        !parts(condition).iter().any(holds)
    } else {
        !["test", "doctest", "loom", "shuttle"].iter().any(|never| path.is_ident(never))
    }
}

#[test]
fn conditions_are_those_of_the_documentation() {
    let there = |text: &str| is_there(&syn::parse_str::<syn::ItemFn>(text).expect("a function").attrs);
    assert!(
        there("#[cfg(feature = \"serde\")] fn f() {}") && there("#[cfg(not(any(loom, shuttle)))] fn f() {}")
    );
    assert!(!there("#[cfg(test)] fn f() {}") && !there("#[cfg(any(loom, shuttle))] fn f() {}"));
    assert!(there("#[cfg(any(test, feature = \"fault-injection\"))] fn f() {}"));
}
