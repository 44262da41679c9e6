//! See `gfp_fuzz::topology`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gfp_fuzz::topology::check(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    gfp_fuzz::replay(gfp_fuzz::topology::check)
}
