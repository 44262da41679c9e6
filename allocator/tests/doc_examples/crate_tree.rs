//! The crate's modules as the compiler sees them, and which items can be reached from outside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, Item, ItemStruct, Token, UseTree};

use crate::attributes::{doc, is_hidden, is_public, is_there, text_of};

/// A name that a module brings in.
struct Use {
    public: bool,
    name: String,
    path: Vec<String>,
}

pub(crate) struct Module {
    parent: usize,
    public: bool,
    pub(crate) file: PathBuf,
    /// Where the files of its children lie.
    folder: PathBuf,
    pub(crate) doc: String,
    children: BTreeMap<String, usize>,
    uses: Vec<Use>,
    /// The modules of which it brings in everything.
    globs: Vec<Vec<String>>,
    pub(crate) items: Vec<Item>,
}

/// An item, by the number of the module that defines it and its name.
pub(crate) type ItemKey = (usize, String);

/// What a path leads to.
pub(crate) enum Found {
    Module(usize),
    Item(ItemKey),
}

/// A public module that an item is a member of.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) module: usize,
    /// The module's names from the root.
    pub(crate) path: Vec<String>,
}

/// The modules of a crate; the first is its root. What the documentation leaves out, by `cfg`, is not there.
pub(crate) struct CrateTree {
    pub(crate) modules: Vec<Module>,
}

impl CrateTree {
    /// Reads the crate whose root is `lib.rs` in `folder`.
    ///
    /// # Panics
    /// When a file cannot be read, or is not Rust.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut tree = Self { modules: Vec::new() };
        let file = folder.join("lib.rs");
        let syn::File { attrs, items, .. } = parse(&file);
        tree.add(Module::new(0, true, file, folder.to_owned(), &attrs), items);
        tree
    }

    /// Adds a module and those inside it, and returns its number.
    fn add(&mut self, module: Module, items: Vec<Item>) -> usize {
        let number = self.modules.len();
        let (file, folder) = (module.file.clone(), module.folder.clone());
        self.modules.push(module);
        for item in items.into_iter().flat_map(unwrapped).filter(|item| is_there(attributes(item))) {
            match item {
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let public = is_public(&item.vis) && !is_hidden(&item.attrs);
                    let child = if let Some((_, items)) = item.content {
                        let child =
                            Module::new(number, public, file.clone(), folder.join(&name), &item.attrs);
                        self.add(child, items)
                    } else {
                        let (file, folder) = file_of(&name, &item.attrs, &file, &folder);
                        let syn::File { attrs, items, .. } = parse(&file);
                        self.add(Module::new(number, public, file, folder, &attrs), items)
                    };
                    self.modules[number].children.insert(name, child);
                }
                Item::Use(item) => {
                    flatten(&item.tree, &[], is_public(&item.vis), &mut self.modules[number]);
                }
                other => self.modules[number].items.push(other),
            }
        }
        number
    }

    /// Returns an item.
    pub(crate) fn item(&self, (module, name): &ItemKey) -> Option<&Item> {
        let mut items = self.modules[*module].items.iter();
        items.find(|item| name_of(item).is_some_and(|known| known == name))
    }

    /// Follows `path` from module `from`, through re-exports; `None` for what another crate defines.
    pub(crate) fn find(&self, from: usize, path: &[String]) -> Option<Found> {
        let mut at = Found::Module(from);
        for segment in path {
            let Found::Module(module) = at else { return None };
            at = match &**segment {
                "crate" => Found::Module(0),
                "self" => Found::Module(module),
                "super" => Found::Module(self.modules[module].parent),
                name => self.member(module, name)?,
            };
        }
        Some(at)
    }

    fn member(&self, number: usize, name: &str) -> Option<Found> {
        let key = (number, name.to_owned());
        if self.item(&key).is_some() {
            return Some(Found::Item(key));
        }
        let module = &self.modules[number];
        if let Some(&child) = module.children.get(name) {
            return Some(Found::Module(child));
        }
        // `use name;` brings in another crate.
        let used = module.uses.iter().find(|used| used.name == name && used.path != [name]);
        if let Some(used) = used {
            return self.find(number, &used.path);
        }
        module.globs.iter().find_map(|path| match self.find(number, path) {
            Some(Found::Module(globbed)) => self.member(globbed, name),
            _ => None,
        })
    }

    /// Returns the items that can be reached from outside, each with the public modules that it is a member of.
    pub(crate) fn reachable(&self) -> BTreeMap<ItemKey, Vec<Place>> {
        let mut reachable: BTreeMap<_, Vec<Place>> = BTreeMap::new();
        let (mut open, mut seen) = (VecDeque::from([(0, Vec::new())]), BTreeSet::new());
        while let Some((number, path)) = open.pop_front() {
            if !seen.insert(number) {
                continue;
            }
            let module = &self.modules[number];
            let inside = |name: &String| path.iter().chain([name]).cloned().collect();
            let children = module.children.iter().filter(|&(_, &child)| self.modules[child].public);
            open.extend(children.map(|(name, &child)| (child, inside(name))));
            let mut add = |key| {
                reachable.entry(key).or_default().push(Place { module: number, path: path.clone() });
            };
            let public = module.items.iter().filter(|item| is_public_item(item));
            public.filter_map(name_of).for_each(|name| add((number, name.to_string())));
            for used in module.uses.iter().filter(|used| used.public) {
                match self.find(number, &used.path) {
                    Some(Found::Module(module)) => open.push_back((module, inside(&used.name))),
                    Some(Found::Item(key)) => add(key),
                    None => {}
                }
            }
        }
        reachable
    }
}

impl Module {
    fn new(parent: usize, public: bool, file: PathBuf, folder: PathBuf, attrs: &[Attribute]) -> Self {
        let (children, uses, globs, items) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Self { parent, public, file, folder, doc: doc(attrs), children, uses, globs, items }
    }
}

/// Returns the items that a macro is called with, such as a type to implement something for; else the item itself.
fn unwrapped(item: Item) -> Vec<Item> {
    let Item::Macro(call) = &item else { return vec![item] };
    if let Ok(inside) = syn::parse2::<syn::File>(call.mac.tokens.clone()) {
        return inside.items;
    }
    // `bitflags!` has constants where a struct has fields.
    let head = |input: ParseStream<'_>| {
        let mut item: ItemStruct = syn::parse_str("struct Flags;")?;
        (item.attrs, item.vis) = (input.call(Attribute::parse_outer)?, input.parse()?);
        input.parse::<Token![struct]>()?;
        item.ident = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Item::Struct(item))
    };
    call.mac.parse_body_with(head).map_or_else(|_| vec![item.clone()], |item| vec![item])
}

fn parse(path: &Path) -> syn::File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the file of `mod name;` in `file`, and the folder of that module's children. `folder`: where children of `file` lie.
fn file_of(name: &str, attrs: &[Attribute], file: &Path, folder: &Path) -> (PathBuf, PathBuf) {
    if let Some(path) = attrs.iter().find_map(|attr| text_of(&attr.meta, "path")) {
        let path = file.with_file_name(path);
        return (path.clone(), path.parent().expect("a file is in a folder").to_owned());
    }
    let (beside, inside) = (folder.join(format!("{name}.rs")), folder.join(name));
    if beside.exists() { (beside, inside) } else { (inside.join("mod.rs"), inside) }
}

/// Returns the name of a function, a type or a trait.
fn name_of(item: &Item) -> Option<&Ident> {
    match item {
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

fn is_public_item(item: &Item) -> bool {
    let visibility = match item {
        Item::Enum(item) => &item.vis,
        Item::Fn(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Union(item) => &item.vis,
        _ => return false,
    };
    is_public(visibility) && !is_hidden(attributes(item))
}

/// Returns the attributes of an item that this tree looks at.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Adds each name that `tree` brings into `module`; `before`: the path up to it.
fn flatten(tree: &UseTree, before: &[String], public: bool, module: &mut Module) {
    let with = |name: &Ident| -> Vec<String> { before.iter().cloned().chain([name.to_string()]).collect() };
    match tree {
        UseTree::Path(tree) => flatten(&tree.tree, &with(&tree.ident), public, module),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, public, module)),
        UseTree::Name(name) => {
            module.uses.push(Use { public, name: name.ident.to_string(), path: with(&name.ident) });
        }
        UseTree::Rename(renamed) => {
            module.uses.push(Use { public, name: renamed.rename.to_string(), path: with(&renamed.ident) });
        }
        _ => {
            assert!(!public, "a public glob hides what it exports");
            module.globs.push(before.to_vec());
        }
    }
}
