//! How figures are written.

use std::time::Duration;

/// Returns how many a second there were.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// Writes a rate in at most five characters: with k, M or G for thousands, millions and more.
pub(super) fn rate(per_second: f64) -> String {
    let (figure, unit) = match per_second {
        ..9_999.5 => return format!("{per_second:.0}"),
        ..999_950.0 => (per_second / 1e3, "k"),
        ..999_950_000.0 => (per_second / 1e6, "M"),
        _ => (per_second / 1e9, "G"),
    };
    if figure < 99.95 { format!("{figure:.1}{unit}") } else { format!("{figure:.0}{unit}") }
}

/// Writes a share, which is rounded towards the worse: 100 % is all.
pub(super) fn share(percent: f64) -> String {
    let tenths = if percent > 50.0 { (percent * 10.0).floor() } else { (percent * 10.0).ceil() };
    format!("{:.1} %", tenths / 10.0)
}

/// Writes frames of 4 KiB in MiB.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn mebibytes(frames: u64) -> String {
    format!("{:.1}", frames as f64 / 256.0)
}

/// Writes a time in the unit that suits it.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
pub(super) fn time(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} µs", ns / 1e3),
        ..1e9 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.1} s", ns / 1e9),
    }
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
    fn a_share_is_100_percent_only_if_it_is_all_and_0_only_if_it_is_nothing() {
        assert_eq!(
            [100.0, 99.99, 0.0, 0.001, 50.0].map(share),
            ["100.0 %", "99.9 %", "0.0 %", "0.1 %", "50.0 %"]
        );
    }
}
