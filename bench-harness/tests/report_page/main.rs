//! The report's page in a browser: at two widths, light and dark, nothing is cut, nothing overlaps, nothing is complained about.
//!
//! The browser is Debian's chromium; without it the test says that it is skipped. With `GFP_SCREENSHOTS=DIR` it also leaves what
//! it saw as pictures.

mod browser;
mod sample;

use std::{fs, path::PathBuf};

use bench_harness::{record::Record, report::page};

use browser::{Browser, Scheme};

const WIDTHS: [u32; 2] = [1280, 400];

#[test]
fn the_page_of_every_kind_of_figure_is_readable() {
    let folder = folder("full");
    fs::write(folder.join("all.jsonl"), sample::record()).unwrap();
    let page = page(&[Record::read(&folder).unwrap()], &|name| {
        (name == "<rival>").then_some("Does \"other\" things & more.")
    })
    .unwrap();
    assert!(!page.html().contains("Not in this record"), "the sample lacks a kind");
    assert!(!page.html().contains("<rival>") && page.html().contains("&lt;rival&gt;"));
    page.write(&folder).unwrap();
    look_at(&folder, "full");
}

#[test]
fn the_page_of_the_committed_record_is_readable() {
    let record = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm"));
    let page = page(&[Record::read(&record).unwrap()], &|_| None).unwrap();
    let folder = folder("committed");
    page.write(&folder).unwrap();
    look_at(&folder, "committed");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let record = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm"));
    let page = page(&[Record::read(&record).unwrap()], &|_| None).unwrap();
    let without_names = page.html().replace("http://www.w3.org/2000/svg", "");
    for elsewhere in ["http:", "https:", "src=", "href=", "@import", "url(", "<script"] {
        assert!(!without_names.contains(elsewhere), "the page has {elsewhere}");
    }
}

/// Makes an empty folder for a test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("report-page-{name}"));
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn look_at(folder: &std::path::Path, name: &str) {
    let Some(browser) = Browser::find() else {
        eprintln!("skipped: no chromium is installed (apt-get install chromium)");
        return;
    };
    for width in WIDTHS {
        for scheme in [Scheme::Light, Scheme::Dark] {
            let seen = browser.look(folder, width, scheme);
            if let Some(pictures) = std::env::var_os("GFP_SCREENSHOTS") {
                let picture =
                    PathBuf::from(pictures).join(format!("{name}-{width}-{scheme:?}.png").to_lowercase());
                browser.picture(folder, width, scheme, seen.height, &picture);
            }
            assert_eq!(seen.complaints, Vec::<String>::new(), "{name} at {width}, {scheme:?}");
            assert_eq!(seen.dark, scheme == Scheme::Dark);
            assert!(seen.plots > 0, "{name} at {width}: no plot is shown");
        }
    }
}
