//! How many threads a row has: numbers, or what follows from the number of CPUs.

use std::str::FromStr;

use anyhow::Context;
use itertools::Itertools;

use super::parse_count;

/// The most threads that can be asked for by their number.
const MOST: usize = 4096;
/// The most threads for each CPU.
const MOST_TIMES: usize = 64;

/// A word of `--threads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// So many.
    Count(usize),
    /// One for each CPU.
    All,
    /// 1, 2, 4 and so on, and one for each CPU.
    Scale,
    /// So many for each CPU.
    Times(usize),
}

impl Threads {
    /// Returns the numbers that the words mean on so many CPUs, each once, in the order in which they first come.
    pub(super) fn numbers(words: &[Self], cpus: usize) -> Vec<usize> {
        words.iter().flat_map(|word| word.on(cpus)).unique().collect()
    }

    fn on(self, cpus: usize) -> Vec<usize> {
        match self {
            Self::Count(count) => vec![count],
            Self::All => vec![cpus],
            Self::Times(times) => vec![times * cpus],
            Self::Scale => {
                let powers = std::iter::successors(Some(1), |count| Some(2 * count));
                powers.take_while(|&count| count < cpus).chain([cpus]).collect()
            }
        }
    }
}

impl FromStr for Threads {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parsed = match text {
            "all" => Ok(Self::All),
            "scale" => Ok(Self::Scale),
            _ => match text.strip_suffix('x') {
                Some(times) => parse_count(times, MOST_TIMES).map(Self::Times),
                None => parse_count(text, MOST).map(Self::Count),
            },
        };
        parsed.with_context(|| {
            format!(
                "\"{text}\" is none of: a number from 1 to {MOST}, all, scale (1, 2, 4 … all), \
                 1x to {MOST_TIMES}x (so many times the CPUs)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(text: &str, cpus: usize) -> Vec<usize> {
        let words: Vec<Threads> = text.split(',').map(|word| word.parse().unwrap()).collect();
        Threads::numbers(&words, cpus)
    }

    #[test]
    fn a_scale_ends_with_all_cpus() {
        assert_eq!(on("scale", 1), [1]);
        assert_eq!(on("scale", 2), [1, 2]);
        assert_eq!(on("scale", 12), [1, 2, 4, 8, 12]);
        assert_eq!(on("scale", 16), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn numbers_come_once_in_the_order_of_the_words() {
        assert_eq!(on("all,1,scale,1x,16x,3", 4), [4, 1, 2, 64, 3]);
    }

    #[test]
    fn other_words_are_answered_with_those_that_there_are() {
        for text in ["0", "4097", "x", "0x", "65x", "-1", "many", ""] {
            let message = format!("{:#}", text.parse::<Threads>().unwrap_err());
            assert!(message.contains("scale") && message.contains("from 1 to 4096"), "{message}");
        }
    }
}
