//! Programs of calls, for the oracle.

use std::panic::{catch_unwind, resume_unwind};

use gfp_oracle::{Program, from_bytes, run};

/// Checks the program that the bytes stand for; one that fails is printed as text, which the oracle's own tools read.
pub fn check(bytes: &[u8]) {
    let (shape, calls) = from_bytes(bytes);
    if let Err(found) = catch_unwind(|| run(shape, &calls)) {
        eprintln!("{}", Program { shape, calls });
        resume_unwind(found);
    }
}
