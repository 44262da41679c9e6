//! The kernel's list format for sets of CPUs and nodes: `0-3,8,10-11`.

/// The largest number accepted: far beyond any machine, so that a broken file cannot exhaust memory.
const LIMIT: u32 = 1 << 16;

/// Parses a list, which may be empty; returns `None` if it is malformed.
pub(super) fn parse(text: &str) -> Option<Vec<u32>> {
    let text = text.trim();
    let mut numbers = Vec::new();
    if text.is_empty() {
        return Some(numbers);
    }
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= LIMIT {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_numbers_are_listed_in_order() {
        assert_eq!(parse("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse("\t0\n"), Some(vec![0]));
        assert_eq!(parse("\n"), Some(vec![]));
    }

    #[test]
    fn malformed_lists_are_refused() {
        for text in ["x", "1-", "-1", "3-1", "0,,1", "0-4294967295", "1 2"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
