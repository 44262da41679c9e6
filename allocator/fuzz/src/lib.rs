//! What gfp must do with any bytes: one function for each fuzz target.
//!
//! | target | what the bytes are | what must hold |
//! |---|---|---|
//! | [`calls`] | calls of the whole interface | every answer is one that the oracle's model allows |
//! | [`requests`] | flags, orders and nodes | a request is served as it asked, or refused for a reason that its flags give |
//! | [`raw_parts`] | blocks as plain numbers, true and false ones | every false one is refused, and says why |
//! | [`topology`] | descriptions of machines, and files of sysfs | a consistent machine, or an error |
//! | [`trace`] | a recorded trace | blocks that can be replayed, with an account in which every line appears |
//!
//! `make fuzz` runs each for a minute (cargo-fuzz, on a nightly toolchain). What they have found interesting stands
//! in `corpus/`, and the tests of this crate go through all of it on any toolchain. A finding of the fuzzer is repeated by
//! `cargo run -p gfp-fuzz --bin TARGET -- FILE`; mended, its file goes into the corpus.

pub mod calls;
pub mod raw_parts;
pub mod requests;
pub mod topology;
pub mod trace;

mod input;

use std::{env, fs, io};

/// A target's check; panics where something does not hold.
pub type Check = fn(&[u8]);

/// All targets by name, which is also that of their folder in `corpus/`.
pub const TARGETS: [(&str, Check); 5] = [
    ("calls", calls::check),
    ("requests", requests::check),
    ("raw_parts", raw_parts::check),
    ("topology", topology::check),
    ("trace", trace::check),
];

/// Runs a check on the files that the command line names.
///
/// # Errors
///
/// A file cannot be read, or none is named.
pub fn replay(check: Check) -> io::Result<()> {
    let mut files = env::args().skip(1).peekable();
    if files.peek().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "name files to go through; to look for new ones: make fuzz",
        ));
    }
    for file in files {
        check(&fs::read(&file)?);
        println!("{file}: holds");
    }
    Ok(())
}
