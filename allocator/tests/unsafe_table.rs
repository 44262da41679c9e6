//! Where unsafe code is: `UNSAFE.md` says it, and is true.
//!
//! That each block says why it is sound is clippy's to check (`undocumented_unsafe_blocks` and `missing_safety_doc` are denied);
//! here the comments are counted against the blocks. `GFP_BLESS=1 cargo test -p gfp --test unsafe_table` writes the table anew.

use core::{fmt, iter::Sum, ops::Add};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Modules that may have unsafe code.
const HOMES: [&str; 4] = ["allocator", "frame", "platform", "sync"];

/// Modules that deny it themselves.
const DENIERS: [&str; 5] = ["alloc", "node", "pcp", "stats", "zone"];

/// What a file has, its tests left aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    blocks: usize,
    /// Declared functions and traits: contracts.
    contracts: usize,
    impls: usize,
    /// Comments that say why a block or an implementation is sound.
    reasons: usize,
}

impl Count {
    const fn is_none(self) -> bool {
        self.blocks + self.contracts + self.impls == 0
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            contracts: self.contracts + other.contracts,
            impls: self.impls + other.impls,
            reasons: self.reasons + other.reasons,
        }
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {} | {}", self.blocks, self.contracts, self.impls, self.reasons)
    }
}

/// Counts what a source file has.
fn count(text: &str) -> Count {
    let mut scan = Scan::default();
    scan.stream(text.parse().expect("the compiler takes it"));
    let is_reason = |(line, text): &(usize, &str)| {
        let text = text.trim_start();
        text.starts_with("// SAFETY:") && !scan.tests.iter().any(|tests| tests.contains(line))
    };
    let reasons = (1..).zip(text.lines()).filter(is_reason).count();
    Count { reasons, ..scan.count }
}

#[derive(Default)]
struct Scan {
    count: Count,
    /// Lines of what is compiled for tests only.
    tests: Vec<core::ops::RangeInclusive<usize>>,
}

impl Scan {
    fn stream(&mut self, stream: TokenStream) {
        let mut tokens = stream.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) if is_for_tests(&group) => {
                    // What it stands before, up to its body.
                    let body = tokens.by_ref().find_map(|token| match token {
                        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
                        TokenTree::Punct(punct) if punct.as_char() == ';' => Some(None),
                        _ => None,
                    });
                    if let Some(body) = body.flatten() {
                        self.tests.push(group.span().start().line..=body.span().end().line);
                    }
                }
                TokenTree::Group(group) => self.stream(group.stream()),
                TokenTree::Ident(ident) if ident == "unsafe" => match tokens.peek() {
                    Some(TokenTree::Group(_)) => self.count.blocks += 1,
                    Some(TokenTree::Ident(next)) if next == "impl" => self.count.impls += 1,
                    Some(TokenTree::Ident(_)) => self.count.contracts += 1,
                    // An attribute's: `#[unsafe(…)]` is a group too, and anything else is no code.
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

/// Tells whether a group is the attribute `[cfg(test)]`, or `[cfg(all(test, …))]`.
fn is_for_tests(group: &Group) -> bool {
    let text = group.stream().to_string().replace(' ', "");
    group.delimiter() == Delimiter::Bracket && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// Lists the library's source files but those of tests, by path below `src`.
fn sources() -> BTreeMap<PathBuf, String> {
    fn collect(root: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(directory).expect("a folder of sources").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_for_tests =
                ["tests", "tests.rs", "test_process.rs", "serde_tests.rs"].iter().any(|test| name == *test);
            if path.is_dir() && !is_for_tests {
                collect(root, &path, found);
            } else if !is_for_tests && path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.insert(path.strip_prefix(root).expect("it is below").to_owned(), text);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    collect(&root, &root, &mut found);
    found
}

/// Returns the module of a file: its first folder, or its name.
fn module_of(path: &Path) -> String {
    let first = Path::new(path.components().next().expect("it has a name").as_os_str());
    first.file_stem().expect("it has a name").to_string_lossy().into_owned()
}

/// Writes the table.
fn table(files: &BTreeMap<PathBuf, Count>) -> String {
    let mut modules: BTreeMap<String, Vec<(&Path, Count)>> = BTreeMap::new();
    for (path, &count) in files {
        modules.entry(module_of(path)).or_default().push((path, count));
    }
    let head = "| | blocks | unsafe functions and traits | unsafe implementations | comments that say why |\n|---|---|---|---|---|\n";
    let mut text = format!(
        "# Unsafe code\n\nWritten by `GFP_BLESS=1 cargo test -p gfp --test unsafe_table`, which otherwise checks it. Tests are left aside. \
         {} deny unsafe code, and whatever is not listed has none.\n\n## By module\n\n{head}",
        DENIERS.map(|module| format!("`{module}`")).join(", ")
    );
    let mut row = |name: &str, count: Count| text.push_str(&format!("| {name} | {count} |\n"));
    let sum = |files: &[(&Path, Count)]| files.iter().map(|&(_, count)| count).sum::<Count>();
    for (module, files) in &modules {
        let count = sum(files);
        if !count.is_none() {
            row(&format!("`{module}`"), count);
        }
    }
    row("all", files.values().copied().sum());
    text.push_str(&format!("\n## By file\n\n{head}"));
    for (path, count) in files.iter().filter(|(_, count)| !count.is_none()) {
        text.push_str(&format!("| `{}` | {count} |\n", path.display()));
    }
    text
}

#[test]
fn the_table_is_true() {
    let files: BTreeMap<PathBuf, Count> =
        sources().into_iter().map(|(path, text)| (path, count(&text))).collect();
    for (path, count) in &files {
        let module = module_of(path);
        assert!(count.is_none() || HOMES.contains(&module.as_str()), "{}: {count:?}", path.display());
        assert!(
            count.reasons >= count.blocks + count.impls,
            "{}: a reason is missing: {count:?}",
            path.display()
        );
    }
    let (path, now) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("UNSAFE.md"), table(&files));
    if env::var_os("GFP_BLESS").is_some() {
        fs::write(&path, &now).expect("it can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "{} is out of date: run this test with GFP_BLESS=1", path.display());
}

#[test]
fn the_policy_denies_unsafe_code_itself() {
    let sources = sources();
    for module in DENIERS {
        let text = &sources[&Path::new(module).join("mod.rs")];
        assert!(text.contains("#![deny(unsafe_code)]"), "{module}");
        assert!(!HOMES.contains(&module));
    }
}

#[test]
fn what_is_counted_is_code() {
    let text = r#"
        //! unsafe { in words }
        /// Makes `unsafe { }` of it.
        unsafe fn contract(at: *const u8) -> u8 {
            // SAFETY: by contract.
            unsafe { *at }
        }
        // SAFETY: it has no fields.
        unsafe impl Send for S {}
        unsafe trait Promise { const TEXT: &str = "unsafe { }"; }
        macro_rules! read { ($at:expr) => {
            // SAFETY: the caller's.
            unsafe { *$at }
        } }
        #[cfg(test)]
        mod tests {
            fn f() {
                // SAFETY: a test's.
                unsafe { g() }
            }
        }
        #[cfg(all(test, not(loom)))]
        mod more_tests { fn f() { unsafe { g() } } }
        #[cfg(test)]
        mod elsewhere;
        fn last() {
            unsafe { without_a_reason() }
        }
    "#;
    assert_eq!(count(text), Count { blocks: 3, contracts: 2, impls: 1, reasons: 3 });
}
