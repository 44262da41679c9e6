//! A browser that looks at a page.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Debian's chromium, without a screen.
pub(crate) struct Browser {
    program: PathBuf,
}

/// What the reader's screen is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// What was seen of a page.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What is wrong with it: console messages, what is too wide, texts that are cut or overlap.
    pub(crate) complaints: Vec<String>,
    /// Whether the page took the screen for a dark one.
    pub(crate) dark: bool,
    /// How many plots are shown.
    pub(crate) plots: usize,
    /// The page's height in pixels.
    pub(crate) height: u32,
}

/// The least width of a browser's window; narrower pages are looked at in a frame.
const LEAST_WINDOW: u32 = 500;

/// Longer pictures take minutes.
const LONGEST_PICTURE: u32 = 16_000;

impl Browser {
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let program =
            std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|file| file.is_file())?;
        Some(Self { program })
    }

    /// Looks at the `report.html` of a folder.
    pub(crate) fn look(&self, folder: &Path, width: u32, scheme: Scheme) -> Seen {
        let frame = folder.join(format!("frame-{width}.html"));
        fs::write(&frame, include_str!("frame.html").replace("WIDTH", &width.to_string())).unwrap();
        let output = self.run(scheme, width, 1000, &["--dump-dom"], &frame);
        let page = String::from_utf8_lossy(&output.stdout);
        let seen =
            page.split_once("SEEN{").and_then(|(_, rest)| rest.split_once("}SEEN")).map(|(seen, _)| seen);
        let seen = seen.unwrap_or_else(|| panic!("the page was not looked at: {page}"));
        let mut lines =
            seen.lines().map(|line| line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
        let mut number = || lines.next().unwrap().trim().parse::<u32>().unwrap();
        let (dark, plots, height) = (number() == 1, number() as usize, number());
        let errors = String::from_utf8_lossy(&output.stderr);
        let console = errors.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned);
        let complaints = lines.filter(|line| !line.trim().is_empty()).chain(console).collect();
        Seen { complaints, dark, plots, height }
    }

    /// Takes a picture of the page, as far as it is not longer than [`LONGEST_PICTURE`].
    pub(crate) fn picture(&self, folder: &Path, width: u32, scheme: Scheme, height: u32, picture: &Path) {
        let screenshot = format!("--screenshot={}", picture.display());
        let frame = folder.join(format!("frame-{width}.html"));
        let output = self.run(scheme, width, height.min(LONGEST_PICTURE), &[&screenshot], &frame);
        assert!(picture.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, scheme: Scheme, width: u32, height: u32, arguments: &[&str], page: &Path) -> Output {
        let scheme = if scheme == Scheme::Dark { 0 } else { 1 };
        Command::new(&self.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--enable-logging=stderr",
                "--hide-scrollbars",
            ])
            .args(["--allow-file-access-from-files", "--virtual-time-budget=10000"])
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--window-size={},{height}", width.max(LEAST_WINDOW)))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .output()
            .unwrap()
    }
}
