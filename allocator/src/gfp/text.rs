//! Masks as the kernel's tracepoints print them, and back.

use core::fmt;
use core::str::FromStr;

use super::Gfp;

/// Names in the order in which the kernel prints them: composites first, then single bits.
///
/// Printing takes each name whose bits are all left, so a composite must come before what it contains.
const NAMES: [(&str, Gfp); 37] = [
    ("GFP_TRANSHUGE", Gfp::TRANSHUGE),
    ("GFP_TRANSHUGE_LIGHT", Gfp::TRANSHUGE_LIGHT),
    ("GFP_HIGHUSER_MOVABLE", Gfp::HIGHUSER_MOVABLE),
    ("GFP_HIGHUSER", Gfp::HIGHUSER),
    ("GFP_USER", Gfp::USER),
    ("GFP_KERNEL_ACCOUNT", Gfp::KERNEL_ACCOUNT),
    ("GFP_KERNEL", Gfp::KERNEL),
    ("GFP_NOFS", Gfp::NOFS),
    ("GFP_ATOMIC", Gfp::ATOMIC),
    ("GFP_NOIO", Gfp::NOIO),
    ("GFP_NOWAIT", Gfp::NOWAIT),
    ("GFP_DMA", Gfp::DMA),
    ("GFP_DMA32", Gfp::DMA32),
    ("__GFP_RECLAIM", Gfp::RECLAIM),
    ("__GFP_DMA", Gfp::DMA),
    ("__GFP_HIGHMEM", Gfp::HIGHMEM),
    ("__GFP_DMA32", Gfp::DMA32),
    ("__GFP_MOVABLE", Gfp::MOVABLE),
    ("__GFP_RECLAIMABLE", Gfp::RECLAIMABLE),
    ("__GFP_HIGH", Gfp::HIGH),
    ("__GFP_IO", Gfp::IO),
    ("__GFP_FS", Gfp::FS),
    ("__GFP_ZERO", Gfp::ZERO),
    ("__GFP_DIRECT_RECLAIM", Gfp::DIRECT_RECLAIM),
    ("__GFP_KSWAPD_RECLAIM", Gfp::KSWAPD_RECLAIM),
    ("__GFP_WRITE", Gfp::WRITE),
    ("__GFP_NOWARN", Gfp::NOWARN),
    ("__GFP_RETRY_MAYFAIL", Gfp::RETRY_MAYFAIL),
    ("__GFP_NOFAIL", Gfp::NOFAIL),
    ("__GFP_NORETRY", Gfp::NORETRY),
    ("__GFP_MEMALLOC", Gfp::MEMALLOC),
    ("__GFP_COMP", Gfp::COMP),
    ("__GFP_NOMEMALLOC", Gfp::NOMEMALLOC),
    ("__GFP_HARDWALL", Gfp::HARDWALL),
    ("__GFP_THISNODE", Gfp::THISNODE),
    ("__GFP_ACCOUNT", Gfp::ACCOUNT),
    ("__GFP_ZEROTAGS", Gfp::ZEROTAGS),
];

/// Names of bits that depend on the kernel's configuration and mean nothing here: read, and dropped.
const TOOLING: [&str; 6] = [
    "__GFP_SKIP_ZERO",
    "__GFP_SKIP_KASAN",
    "__GFP_SKIP_KASAN_UNPOISON",
    "__GFP_SKIP_KASAN_POISON",
    "__GFP_NOLOCKDEP",
    "__GFP_NO_OBJ_EXT",
];

impl fmt::Display for Gfp {
    /// Writes the mask as tracepoints do: names joined by `|`, unknown bits in hexadecimal, `none` for no bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut rest = *self;
        let mut separator = "";
        for (name, mask) in NAMES {
            if rest.contains(mask) {
                write!(f, "{separator}{name}")?;
                rest = rest.without(mask);
                separator = "|";
            }
        }
        if !rest.is_empty() {
            write!(f, "{separator}{:#x}", rest.bits())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Gfp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gfp({self})")
    }
}

impl Gfp {
    /// Reads a mask from the text that tracepoints print; the inverse of `Display`.
    ///
    /// Names that depend on the kernel's configuration (`__GFP_SKIP_ZERO`, `__GFP_SKIP_KASAN`, `__GFP_NOLOCKDEP`,
    /// `__GFP_NO_OBJ_EXT`) are accepted and dropped.
    ///
    /// # Errors
    ///
    /// [`ParseGfpError`], which holds the first part of the text that is neither a name nor a hexadecimal number.
    pub fn parse(text: &str) -> Result<Self, ParseGfpError> {
        if text == "none" {
            return Ok(Self::empty());
        }
        let mut mask = Self::empty();
        for token in text.split('|') {
            mask |= Self::parse_token(token).ok_or_else(|| ParseGfpError { token: token.into() })?;
        }
        Ok(mask)
    }

    /// Reads one name or number.
    fn parse_token(token: &str) -> Option<Self> {
        if let Some((_, mask)) = NAMES.iter().find(|(name, _)| *name == token) {
            return Some(*mask);
        }
        if TOOLING.contains(&token) {
            return Some(Self::empty());
        }
        let digits = token.strip_prefix("0x")?;
        // `from_str_radix` would accept a sign.
        if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok().map(Self::from_bits_retain)
    }
}

impl FromStr for Gfp {
    type Err = ParseGfpError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A part of a mask's text that means nothing.
///
/// ```
/// let refused = gfp::Gfp::parse("GFP_KERNEL|__GFP_LOUD").expect_err("there is no such flag");
/// assert_eq!(refused.token(), "__GFP_LOUD");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseGfpError {
    token: String,
}

impl ParseGfpError {
    /// Returns the part that is neither a flag's name nor a hexadecimal number.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Display for ParseGfpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither a gfp flag's name nor a hexadecimal number", self.token)
    }
}

impl std::error::Error for ParseGfpError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every mask that occurs in the recorded kernel traces that the project replays.
    const FROM_TRACES: [&str; 28] = [
        "GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP",
        "GFP_HIGHUSER_MOVABLE|__GFP_COMP",
        "GFP_NOFS|__GFP_HIGHMEM|__GFP_MOVABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_HARDWALL",
        "GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP",
        "GFP_NOWAIT",
        "GFP_HIGHUSER_MOVABLE|__GFP_WRITE|__GFP_COMP",
        "GFP_HIGHUSER_MOVABLE|__GFP_WRITE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "GFP_NOWAIT|__GFP_IO|__GFP_FS|__GFP_NORETRY|__GFP_COMP",
        "GFP_HIGHUSER|__GFP_ACCOUNT",
        "GFP_NOFS|__GFP_RECLAIMABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "GFP_NOWAIT|__GFP_COMP",
        "GFP_NOWAIT|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC",
        "GFP_NOFS|__GFP_NOFAIL|__GFP_COMP|__GFP_HARDWALL",
        "GFP_NOWAIT|__GFP_RECLAIMABLE|__GFP_NORETRY|__GFP_COMP",
        "GFP_TRANSHUGE|__GFP_NORETRY|__GFP_THISNODE",
        "GFP_KERNEL|__GFP_RECLAIMABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "__GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC",
        "GFP_NOFS|__GFP_MOVABLE|__GFP_NOFAIL|__GFP_COMP|__GFP_HARDWALL",
        "__GFP_RECLAIMABLE|__GFP_IO|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC",
        "GFP_ATOMIC|__GFP_RECLAIMABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "GFP_ATOMIC|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC",
        "GFP_NOWAIT|__GFP_NORETRY|__GFP_COMP",
        "GFP_NOWAIT|__GFP_NORETRY|__GFP_COMP|__GFP_THISNODE",
        "GFP_NOFS|__GFP_COMP",
        "GFP_NOFS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "GFP_ATOMIC|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP",
        "GFP_KERNEL",
    ];

    #[test]
    fn masks_of_real_traces_read_and_print_alike() {
        for text in FROM_TRACES {
            assert_eq!(Gfp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn composites_come_first_and_unknown_bits_last() {
        let table = [
            (Gfp::empty(), "none"),
            (Gfp::KERNEL | Gfp::ZERO, "GFP_KERNEL|__GFP_ZERO"),
            (Gfp::DMA | Gfp::USER, "GFP_USER|GFP_DMA"),
            (Gfp::TRANSHUGE_LIGHT, "GFP_TRANSHUGE_LIGHT"),
            (Gfp::RECLAIM | Gfp::FS, "GFP_NOIO|__GFP_FS"),
            (Gfp::from_bits_retain(0x0400_0200), "0x4000200"),
            (Gfp::ATOMIC | Gfp::from_bits_retain(0x200), "GFP_ATOMIC|0x200"),
        ];
        for (mask, text) in table {
            assert_eq!(mask.to_string(), text);
            assert_eq!(format!("{mask:?}"), format!("Gfp({text})"));
            assert_eq!(Gfp::parse(text), Ok(mask));
        }
    }

    #[test]
    fn tooling_names_are_dropped() {
        let read = Gfp::parse("GFP_HIGHUSER_MOVABLE|__GFP_SKIP_KASAN|__GFP_NOLOCKDEP|__GFP_SKIP_ZERO");
        assert_eq!(read, Ok(Gfp::HIGHUSER_MOVABLE));
        assert_eq!(Gfp::parse("__GFP_NO_OBJ_EXT"), Ok(Gfp::empty()));
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (text, token) in
            [("GFP_KERNEL|__GFP_COLD", "__GFP_COLD"), ("", ""), ("GFP_KERNEL|", ""), ("0x+1", "0x+1")]
        {
            assert_eq!(Gfp::parse(text).unwrap_err().token(), token);
        }
        let refused = Gfp::parse("__GFP_COLD").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "\"__GFP_COLD\" is neither a gfp flag's name nor a hexadecimal number"
        );
    }

    proptest! {
        #[test]
        fn every_mask_reads_back_from_its_text(bits in any::<u32>()) {
            let mask = Gfp::from_bits_retain(bits);
            prop_assert_eq!(mask.to_string().parse(), Ok(mask));
        }
    }
}
