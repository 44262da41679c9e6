//! Prints a short program that fails like the one in the file that is named: `cargo run -p gfp-oracle --example shrink -- FILE`.

use std::{env, error::Error, fs};

use gfp_oracle::{Program, shrink};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("the name of a file with a program is missing")?;
    let program: Program = fs::read_to_string(path)?.parse()?;
    match shrink(&program) {
        Some(short) => print!("{short}"),
        None => println!("# The program does not fail."),
    }
    Ok(())
}
