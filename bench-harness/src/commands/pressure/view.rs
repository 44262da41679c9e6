//! What is to be seen of memory under pressure while it lasts: a page of text, or a line.

use std::time::Duration;

use crate::{
    figures::{mebibytes, per_second, rate, share},
    pressure::{CacheState, Config, KswapdState, Phase, Reclaimed, Snapshot, ZoneState},
};

/// How wide the bar of a zone is.
const BAR: usize = 30;

/// Two moments, from which rates follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) config: &'a Config,
    pub(super) before: &'a Snapshot,
    pub(super) now: &'a Snapshot,
}

impl View<'_> {
    /// Returns the page, in lines of at most `width` characters; as long as the height allows, the zones are all there.
    pub(super) fn page(&self, width: usize, height: usize) -> Vec<String> {
        let mut lines = vec![self.head(), self.requests(), self.samples()];
        lines.push(String::new());
        lines.push(format!(
            "{:<13} {:<BAR$} {:>7} {:>7} {:>7}  {:>6}",
            "", "m min  l low  h high", "free", "min", "high", "boost"
        ));
        lines.extend(self.now.zones.iter().map(zone_line));
        lines.push(String::new());
        lines.extend(self.kswapds());
        lines.push(self.reclaim());
        lines.push(String::new());
        lines.push(format!(
            "{:<8} {:>9} {:>9} {:>10} {:>10} {:>12}",
            "cache", "pages", "MiB", "hits/s", "misses/s", "evicted/s"
        ));
        lines.extend(
            self.now.caches.iter().zip(&self.before.caches).map(|(now, before)| self.cache(now, before)),
        );
        lines.truncate(height);
        for line in &mut lines {
            if let Some((end, _)) = line.char_indices().nth(width) {
                line.truncate(end);
            }
        }
        lines
    }

    /// Returns the line.
    pub(super) fn line(&self) -> String {
        let Snapshot { at, phase, .. } = self.now;
        let reclaimed = self.reclaimed();
        format!(
            "{:>3} s {}: {} pages/s asked, {} requests failed; {} free; reclaimed/s: kswapd {}, direct {} in {} stalls; cached {}",
            at.as_secs(),
            phase.name(),
            self.per_second(|snapshot| snapshot.pages),
            self.now.failures - self.before.failures,
            self.now.free(),
            self.rate(reclaimed.kswapd),
            self.rate(reclaimed.direct),
            self.rate(reclaimed.stalls),
            self.now.caches.iter().map(|cache| cache.frames).sum::<u64>(),
        )
    }

    fn time(&self) -> Duration {
        self.now.at.saturating_sub(self.before.at)
    }

    fn rate(&self, count: u64) -> String {
        rate(per_second(count, self.time()))
    }

    fn per_second(&self, get: impl Fn(&Snapshot) -> u64) -> String {
        self.rate(get(self.now).saturating_sub(get(self.before)))
    }

    fn reclaimed(&self) -> Reclaimed {
        self.now.reclaimed.since(&self.before.reclaimed)
    }

    fn head(&self) -> String {
        let Config { threads, arena_bytes, length, .. } = self.config;
        let asked = self.now.rate.map_or_else(|| "no limit".into(), |rate| format!("{rate} pages/s"));
        let phase = match self.now.phase {
            Phase::Fill => "filling the arena".into(),
            Phase::Measure => "measuring reclaim".into(),
            Phase::Settle => "settling".into(),
            Phase::Sample => {
                format!("{:.1} of {} s", self.now.sampled.as_secs_f64(), length.as_secs_f64())
            }
        };
        format!("gfp pressure: {threads} threads, {} MiB, {asked}; {phase}", arena_bytes >> 20)
    }

    fn requests(&self) -> String {
        format!(
            "requests/s {}  pages/s {}  failed/s {}  rules broken {}",
            self.per_second(|snapshot| snapshot.requests),
            self.per_second(|snapshot| snapshot.pages),
            self.per_second(|snapshot| snapshot.failures),
            self.now.broken
        )
    }

    fn samples(&self) -> String {
        let samples = self.now.samples;
        format!(
            "samples {}: {} between min and high + boost, {} below, {} above",
            samples.total(),
            share(samples.percent(samples.inside)),
            share(samples.percent(samples.below)),
            share(samples.percent(samples.above)),
        )
    }

    fn kswapds(&self) -> impl Iterator<Item = String> {
        self.now.kswapds.iter().map(|kswapd| {
            let KswapdState { node, running, hopeless, wakeups } = *kswapd;
            let state = match (hopeless, running) {
                (true, _) => "hopeless",
                (false, true) => "running",
                (false, false) => "asleep",
            };
            let before = self.before.kswapds.iter().find(|before| before.node == node);
            let woken = wakeups.saturating_sub(before.map_or(0, |before| before.wakeups));
            format!("kswapd{:<3} {state:<9} woken/s {}", node.index(), self.rate(woken))
        })
    }

    fn reclaim(&self) -> String {
        let reclaimed = self.reclaimed();
        format!(
            "reclaimed/s: kswapd {}  direct {} in {} stalls",
            self.rate(reclaimed.kswapd),
            self.rate(reclaimed.direct),
            self.rate(reclaimed.stalls)
        )
    }

    fn cache(&self, now: &CacheState, before: &CacheState) -> String {
        format!(
            "{:<8} {:>9} {:>9} {:>10} {:>10} {:>12}",
            now.name,
            now.frames,
            mebibytes(now.frames),
            self.rate(now.hits - before.hits),
            self.rate(now.misses - before.misses),
            self.rate(now.evicted - before.evicted)
        )
    }
}

fn zone_line(zone: &ZoneState) -> String {
    let ZoneState { node, name, free, marks, boost, .. } = zone;
    let [min, _, high] = marks;
    format!("node{node:<2} {name:<7} {} {free:>7} {min:>7} {high:>7}  {boost:>6}", bar(zone))
}

/// Draws free memory from nothing to twice the high mark; marks are letters.
fn bar(zone: &ZoneState) -> String {
    let inside = BAR - 2;
    let [min, low, high] = zone.marks;
    let place = |frames: u64| {
        let whole = (high * 2).max(1);
        usize::try_from(frames.min(whole) * inside as u64 / whole).unwrap_or(inside)
    };
    let mut cells = vec!['.'; inside];
    cells[..place(zone.free)].fill('#');
    for (mark, letter) in [(min, 'm'), (low, 'l'), (high, 'h')] {
        cells[place(mark).min(inside - 1)] = letter;
    }
    format!("[{}]", cells.into_iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use gfp::Nid;

    use super::*;
    use crate::pressure::{Rate, Samples, Types};

    fn moment(seconds: u64) -> Snapshot {
        let zone = |node, name, free, boost| ZoneState {
            node,
            name,
            free,
            marks: [512 + boost, 640 + boost, 768 + boost],
            boost,
            managed: 65536,
        };
        let cache = |name, frames| CacheState {
            name,
            frames,
            hits: 1_000_000 * seconds,
            misses: 20_000 * seconds,
            evicted: 19_999 * seconds,
        };
        Snapshot {
            at: Duration::from_secs(seconds),
            phase: Phase::Sample,
            sampled: Duration::from_secs(seconds - 5),
            rate: Some(123_456),
            zones: vec![zone(0, "DMA32", 700, 0), zone(1, "Normal", 5000, 512)],
            kswapds: vec![
                KswapdState { node: Nid::new(0), running: true, hopeless: false, wakeups: 30 * seconds },
                KswapdState { node: Nid::new(1), running: false, hopeless: true, wakeups: 7 },
            ],
            reclaimed: Reclaimed { kswapd: 90_000 * seconds, direct: 500 * seconds, stalls: 3 * seconds },
            caches: vec![cache("data", 30_000), cache("index", 12_345_678)],
            requests: 200_000 * seconds,
            pages: 250_000 * seconds,
            failures: 12 * seconds,
            broken: 0,
            samples: Samples { below: 1, inside: 998, above: 1 },
        }
    }

    const CONFIG: Config = Config {
        threads: 8,
        arena_bytes: 256 << 20,
        nodes: None,
        types: Types::One,
        length: Duration::from_secs(60),
        rate: Rate::Half,
    };

    #[test]
    fn the_page_fits_80_columns() {
        let (before, now) = (moment(10), moment(11));
        let page = View { config: &CONFIG, before: &before, now: &now }.page(80, 24);
        let wanted = "\
gfp pressure: 8 threads, 256 MiB, 123456 pages/s; 6.0 of 60 s
requests/s 200k  pages/s 250k  failed/s 12  rules broken 0
samples 1000: 99.8 % between min and high + boost, 0.1 % below, 0.1 % above

              m min  l low  h high              free     min    high   boost
node0  DMA32   [#########m#l..h.............]     700     512     768       0
node1  Normal  [###########ml#h#############]    5000    1024    1280     512

kswapd0   running   woken/s 30
kswapd1   hopeless  woken/s 0
reclaimed/s: kswapd 90.0k  direct 500 in 3 stalls

cache        pages       MiB     hits/s   misses/s    evicted/s
data         30000     117.2       1.0M      20.0k        20.0k
index     12345678   48225.3       1.0M      20.0k        20.0k";
        assert_eq!(page.join("\n"), wanted);
        assert!(page.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_small_terminal_gets_what_fits() {
        let now = moment(11);
        let page = View { config: &CONFIG, before: &now, now: &now }.page(20, 7);
        assert_eq!(page.len(), 7);
        assert_eq!(page[0], "gfp pressure: 8 thre");
    }

    #[test]
    fn without_a_terminal_it_is_a_line() {
        let (before, now) = (moment(10), moment(11));
        let line = View { config: &CONFIG, before: &before, now: &now }.line();
        assert_eq!(
            line,
            " 11 s sample: 250k pages/s asked, 12 requests failed; 5700 free; reclaimed/s: kswapd 90.0k, \
             direct 500 in 3 stalls; cached 12375678"
        );
    }

    #[test]
    fn marks_are_seen_at_both_ends_of_the_bar() {
        let zone = |free, marks| ZoneState { node: 0, name: "", free, marks, boost: 0, managed: 0 };
        assert_eq!(bar(&zone(0, [0, 0, 0])), format!("[h{}]", ".".repeat(BAR - 3)));
        let full = bar(&zone(u64::MAX, [1, 2, 14]));
        assert!(full.starts_with("[#") && full.ends_with("##]") && full.contains('h'), "{full}");
    }
}
