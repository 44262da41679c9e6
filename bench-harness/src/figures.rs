//! How figures are written.

use std::time::Duration;

/// Returns how many a second there were.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// Writes a rate in at most five characters: with k, M or G for thousands, millions and more.
pub(crate) fn rate(per_second: f64) -> String {
    let (figure, unit) = match per_second {
        ..9_999.5 => return format!("{per_second:.0}"),
        ..999_950.0 => (per_second / 1e3, "k"),
        ..999_950_000.0 => (per_second / 1e6, "M"),
        _ => (per_second / 1e9, "G"),
    };
    if figure < 99.95 { format!("{figure:.1}{unit}") } else { format!("{figure:.0}{unit}") }
}

/// Writes a share, which is rounded towards the worse: 100 % is all.
pub(crate) fn share(percent: f64) -> String {
    let tenths = if percent > 50.0 { (percent * 10.0).floor() } else { (percent * 10.0).ceil() };
    format!("{:.1} %", tenths / 10.0)
}

/// Writes frames of 4 KiB in MiB.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn mebibytes(frames: u64) -> String {
    format!("{:.1}", frames as f64 / 256.0)
}

/// Writes a time in the unit that suits it.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
pub(crate) fn time(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} µs", ns / 1e3),
        ..1e9 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.1} s", ns / 1e9),
    }
}

/// Writes a figure with about three digits.
pub(crate) fn digits(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.0995 => format!("{value:.4}"),
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Writes a number of bytes in the largest unit that it is at least one of.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4);
    let figure = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let text = if figure.fract() == 0.0 { format!("{figure:.0}") } else { digits(figure) };
    format!("{text} {}", units[unit as usize])
}

/// Returns a count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn real(count: usize) -> f64 {
    count as f64
}

/// Writes a number of things, in the plural unless it is one.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let rates = [0.4, 999.0, 9_999.0, 10_000.0, 123_456.0, 999_949.0, 1e6, 2.5e9].map(rate);
        assert_eq!(rates, ["0", "999", "9999", "10.0k", "123k", "1000k", "1.0M", "2.5G"]);
        assert_eq!(
            [0, 999, 1500, 2_340_000, 61_000_000_000].map(time),
            ["0 ns", "999 ns", "1.5 µs", "2.3 ms", "61.0 s"]
        );
        assert_eq!(mebibytes(65536 + 128), "256.5");
        assert_eq!(rate(per_second(500, Duration::from_millis(250))), "2000");
    }

    #[test]
    fn sizes_and_counts_have_their_units() {
        assert_eq!([0, 4096, 12 << 20, 3 << 29].map(size), ["0 B", "4 KiB", "12 MiB", "1.50 GiB"]);
        assert_eq!([count(1, "thread"), count(2, "thread")], ["1 thread", "2 threads"]);
    }

    #[test]
    fn a_share_is_100_percent_only_if_it_is_all_and_0_only_if_it_is_nothing() {
        assert_eq!(
            [100.0, 99.99, 0.0, 0.001, 50.0].map(share),
            ["100.0 %", "99.9 %", "0.0 %", "0.1 %", "50.0 %"]
        );
    }
}
