//! Lays the command out so that perf finds its probes.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_on = |name| std::env::var_os(name).is_some();
    // perf takes a probe's address for its offset in the file, which differ where segments share pages of it.
    if is_on("CARGO_FEATURE_USDT") && is_on("CARGO_CFG_UNIX") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,separate-code");
    }
}
