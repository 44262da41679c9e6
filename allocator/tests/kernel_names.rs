//! What the README says of the kernel's names: the documentation finds each, and the files are where it says.

use std::{fs, path::Path};

/// Returns the rows of the README's table of names, cell by cell.
fn rows() -> Vec<Vec<String>> {
    let readme = fs::read_to_string("../README.md").expect("it lies beside the crate");
    let (_, section) = readme.split_once("## Where the kernel's names are").expect("it has that section");
    let table = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Returns what stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Adds up the text of all sources below a folder.
fn read_sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            read_sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

/// Tells whether the documentation's search finds a name: it is a function's or a field's, or an alias.
fn is_found(sources: &str, name: &str) -> bool {
    let function = format!("fn {name}");
    let is_whole = |(at, _): (usize, _)| {
        let behind = sources[at + function.len()..].chars().next();
        behind.is_some_and(|next| matches!(next, '(' | '<'))
    };
    let is_named = |text: String| sources.contains(&text);
    is_named(format!("alias = \"{name}\""))
        || is_named(format!("pub {name}: "))
        || sources.match_indices(&function).any(is_whole)
}

/// Tells whether a flag of the kernel is one of ours.
fn is_flag(sources: &str, name: &str) -> bool {
    name.strip_prefix("ALLOC_").is_some_and(|flag| match flag.strip_suffix('*') {
        Some(family) => sources.contains(&format!("{family}MASK")),
        None => {
            sources.contains(&format!("const {flag} ")) || sources.contains(&format!("alias = \"{name}\""))
        }
    })
}

#[test]
fn each_name_of_the_kernel_is_found() {
    let mut sources = String::new();
    read_sources(Path::new("src"), &mut sources);
    let rows = rows();
    let names: Vec<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert!(names.len() >= 60, "the table has {} names", names.len());
    let missing: Vec<&str> = names
        .into_iter()
        .map(|name| name.trim_start_matches("struct "))
        .filter(|name| !is_found(&sources, name) && !is_flag(&sources, name))
        .collect();
    assert!(missing.is_empty(), "neither a function nor an alias: {missing:?}");
}

#[test]
fn each_file_that_the_table_names_is_there() {
    let rows = rows();
    let files: Vec<&str> = rows.iter().flat_map(|row| quoted(&row[2])).collect();
    let missing: Vec<_> = files.iter().filter(|file| !Path::new("src").join(file).exists()).collect();
    assert!(files.len() >= 30 && missing.is_empty(), "not in allocator/src: {missing:?}");
}
