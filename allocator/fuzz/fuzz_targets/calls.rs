//! See `gfp_fuzz::calls`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gfp_fuzz::calls::check(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    gfp_fuzz::replay(gfp_fuzz::calls::check)
}
