//! The functions that can be called from outside, with the documentation that may show them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use syn::{Attribute, ImplItem, Item, ItemImpl, Signature, TraitItem, Type, Visibility};

use crate::attributes::{doc, is_hidden, is_public, is_there};
use crate::crate_tree::{CrateTree, Found, ItemKey, Place, attributes};

/// The values that a function is called on.
#[derive(Clone, Debug)]
pub(crate) enum Receiver {
    /// A value of the type or trait of this name.
    Value(String),
    /// None, but the function belongs to the type or trait of this name.
    Type(String),
    None,
}

impl Receiver {
    /// Returns the name of the type or trait that the function belongs to.
    pub(crate) fn owner(&self) -> Option<&str> {
        match self {
            Self::Value(owner) | Self::Type(owner) => Some(owner),
            Self::None => None,
        }
    }
}

/// A function or method that can be called from outside.
#[derive(Debug)]
pub(crate) struct PublicFunction {
    /// From the root, by a shortest public way.
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) receiver: Receiver,
    pub(crate) file: PathBuf,
    pub(crate) own_doc: String,
    /// The documentation of its type and impl block, and of the public modules that it can be reached through.
    pub(crate) page_docs: Vec<String>,
}

/// Returns the functions of a crate that can be called from outside.
pub(crate) fn public_functions(tree: &CrateTree) -> Vec<PublicFunction> {
    let mut collector = Collector { tree, reachable: tree.reachable(), found: Vec::new() };
    for (number, module) in tree.modules.iter().enumerate() {
        for item in &module.items {
            match item {
                Item::Fn(item) => {
                    let scope =
                        Scope { module: number, key: (number, item.sig.ident.to_string()), owner_docs: None };
                    collector.add(&scope, &item.vis, &item.attrs, &item.sig);
                }
                Item::Trait(item) => {
                    let key = (number, item.ident.to_string());
                    let scope = Scope { module: number, key, owner_docs: Some(vec![doc(&item.attrs)]) };
                    for inner in &item.items {
                        if let TraitItem::Fn(inner) = inner {
                            collector.add(&scope, &item.vis, &inner.attrs, &inner.sig);
                        }
                    }
                }
                Item::Impl(block) if block.trait_.is_none() => collector.add_impl(number, block),
                _ => {}
            }
        }
    }
    collector.found
}

/// What the functions of a block have in common.
struct Scope {
    /// The number of the module that they are written in.
    module: usize,
    /// The item that must be reachable: the function itself, or its type or trait.
    key: ItemKey,
    /// The documentation of the type or trait and of the block; none for a function of its own.
    owner_docs: Option<Vec<String>>,
}

struct Collector<'a> {
    tree: &'a CrateTree,
    reachable: BTreeMap<ItemKey, Vec<Place>>,
    found: Vec<PublicFunction>,
}

impl Collector<'_> {
    fn add_impl(&mut self, module: usize, block: &ItemImpl) {
        let Type::Path(owner) = &*block.self_ty else { return };
        let owner: Vec<String> = owner.path.segments.iter().map(|part| part.ident.to_string()).collect();
        let Some(Found::Item(key)) = self.tree.find(module, &owner) else {
            panic!("{}: the type {owner:?} is not found", self.tree.modules[module].file.display());
        };
        let of_type = self.tree.item(&key).map(attributes).unwrap_or_default();
        let scope = Scope { module, key, owner_docs: Some(vec![doc(of_type), doc(&block.attrs)]) };
        for item in &block.items {
            if let ImplItem::Fn(item) = item {
                self.add(&scope, &item.vis, &item.attrs, &item.sig);
            }
        }
    }

    fn add(&mut self, scope: &Scope, visibility: &Visibility, attrs: &[Attribute], signature: &Signature) {
        let Some(places) = self.reachable.get(&scope.key) else { return };
        if !is_public(visibility) || !is_there(attrs) || is_hidden(attrs) {
            return;
        }
        let name = signature.ident.to_string();
        let owner = scope.owner_docs.is_some().then(|| scope.key.1.clone());
        let shortest = places.iter().map(|place| &place.path).min_by_key(|path| path.len());
        let path: Vec<String> =
            shortest.into_iter().flatten().chain(&owner).chain([&name]).cloned().collect();
        let page_docs = scope.owner_docs.iter().flatten().cloned();
        let module_docs = places.iter().map(|place| self.tree.modules[place.module].doc.clone());
        self.found.push(PublicFunction {
            path: path.join("::"),
            name,
            receiver: match owner {
                Some(owner) if signature.receiver().is_some() => Receiver::Value(owner),
                Some(owner) => Receiver::Type(owner),
                None => Receiver::None,
            },
            file: self.tree.modules[scope.module].file.clone(),
            own_doc: doc(attrs),
            page_docs: page_docs.chain(module_docs).collect(),
        });
    }
}
