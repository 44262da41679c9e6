//! How large a machine may be.

use super::super::error::PlatformError;

/// The most CPUs of a made-up machine: `NR_CPUS` of the largest kernels, and far less than hwloc can number in a second.
const MAX_CPUS: u64 = 8192;

/// The most nodes of a machine: `MAX_NUMNODES` of the largest kernels. The matrix of distances has the square of it.
const MAX_NODES: usize = 1024;

/// Checks that a synthetic description has not too many CPUs, by the counts of its levels: those that stand outside of any bracket.
pub(super) fn check_description(description: &str) -> Result<(), PlatformError> {
    let mut depth = 0_u32;
    let mut bare = String::with_capacity(description.len());
    for character in description.chars() {
        match character {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => bare.push(character),
            _ => {}
        }
    }
    let counts = bare.split_whitespace().filter_map(|level| level.rsplit(':').next()?.parse::<u64>().ok());
    if counts.fold(1, u64::saturating_mul) <= MAX_CPUS {
        return Ok(());
    }
    let origin = format!("the description {description:?}");
    Err(PlatformError::topology(origin, format!("it has more than {MAX_CPUS} CPUs")))
}

/// Checks that there are not too many nodes.
pub(super) fn check_nodes(origin: &str, nodes: usize) -> Result<(), PlatformError> {
    if nodes <= MAX_NODES {
        return Ok(());
    }
    Err(PlatformError::topology(origin, format!("it has {nodes} nodes; more than {MAX_NODES} are too many")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_bounded_by_the_product_of_its_levels() {
        for fits in ["pu:8192", "node:64 core:64 pu:2", "pack:2 [numa] core:8 pu:2", "4 4 2", "", "pu:x"] {
            assert!(check_description(fits).is_ok(), "{fits}");
        }
        for large in
            ["pu:8193", "node:2 pu:70000", "100 100", "pu:18446744073709551615 core:2", "pack:99(a=1) pu:99"]
        {
            let error = check_description(large).expect_err("too large").to_string();
            assert!(error.contains("more than 8192 CPUs") && error.contains(large), "{error}");
        }
    }

    #[test]
    fn a_thousand_nodes_are_enough() {
        assert!(check_nodes("a machine", 1024).is_ok());
        assert!(check_nodes("a machine", 1025).expect_err("one more").to_string().contains("1025 nodes"));
    }
}
