//! What came of it, for people and as a record.

use gfp::error::FailReason;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{
    figures::{per_second, rate, share, time},
    pressure::{Config, Rate, RequestKind, Snapshot, Summary, Types},
    terminal::Table,
};

/// Returns the summary as a text.
pub(super) fn text(summary: &Summary) -> String {
    let mut table = Table::new(&["request", "asked", "failed", "why"]);
    for kind in RequestKind::ALL {
        let failures: Vec<_> = summary.outcomes.failures_of(kind).collect();
        let failed: u64 = failures.iter().map(|(_, count)| count).sum();
        let why = failures.iter().map(|(reason, count)| format!("{} {count}", name(*reason)));
        table.push(vec![
            kind.name().into(),
            summary.outcomes.of(kind).to_string(),
            failed.to_string(),
            why.collect::<Vec<_>>().join(", "),
        ]);
    }
    let mut text = format!("{table}\n");
    let [first, last] = &summary.ends;
    let pages = last.pages - first.pages;
    let asked = summary.rate.map_or_else(String::new, |rate| format!(", of {rate} that they were allowed"));
    text += &format!(
        "{} requests and {pages} pages in {:.1} s, {} pages a second{asked}\n",
        summary.outcomes.total(),
        summary.sampled.as_secs_f64(),
        rate(per_second(pages, summary.sampled)),
    );
    if let Some(throughput) = summary.throughput {
        text += &format!("reclaim at full speed: {throughput:.0} pages a second, measured before\n");
    }
    let reclaimed = last.reclaimed.since(&first.reclaimed);
    text += &format!(
        "reclaimed: {} pages by kswapd, {} directly ({}) in {} stalls\n",
        reclaimed.kswapd,
        reclaimed.direct,
        share(reclaimed.direct_percent()),
        reclaimed.stalls,
    );
    let latencies = &summary.latencies;
    let mut table = Table::new(&["time of requests that may wait", "number", "p50", "p99", "p99.9", "max"]);
    for (what, histogram) in [("all", &latencies.all), ("that reclaimed directly", &latencies.direct)] {
        let mut row = vec![what.into(), histogram.len().to_string()];
        row.extend(quantiles(histogram).map(|(_, ns)| time(ns)));
        table.push(row);
    }
    let samples = summary.samples;
    text += &format!(
        "\n{table}\n{} samples: {} between min and high + boost, {} below, {} above\n",
        samples.total(),
        share(samples.percent(samples.inside)),
        share(samples.percent(samples.below)),
        share(samples.percent(samples.above)),
    );
    let conservation = &summary.conservation;
    text += &format!(
        "at the end: {} of {} frames free, {} allocated, {} cached, {} isolated\n",
        conservation.free(),
        conservation.managed(),
        conservation.allocated(),
        conservation.cached(),
        conservation.isolated(),
    );
    text
}

/// Returns what is to be said about broken rules, if any were.
pub(super) fn broken(summary: &Summary) -> Option<String> {
    let broken = &summary.broken;
    (broken.count > 0).then(|| {
        let times = if broken.count == 1 { "once".into() } else { format!("{} times", broken.count) };
        format!("rules were broken {times}:\n{}\n", broken.sentences.join("\n"))
    })
}

/// Returns the summary as a record; times in nanoseconds.
pub(super) fn record(config: &Config, summary: &Summary) -> Value {
    let requests = RequestKind::ALL.map(|kind| {
        let failures = summary.outcomes.failures_of(kind);
        let failures: Map<_, _> = failures.map(|(reason, count)| (name(reason), json!(count))).collect();
        (kind.name().to_owned(), json!({ "asked": summary.outcomes.of(kind), "failed": failures }))
    });
    let [first, last] = &summary.ends;
    let reclaimed = last.reclaimed.since(&first.reclaimed);
    let pages = last.pages - first.pages;
    let samples = summary.samples;
    json!({
        "kind": "pressure",
        "threads": config.threads,
        "arena_bytes": config.arena_bytes,
        "nodes": config.nodes,
        "mixed": config.types == Types::Mixed,
        "rate_asked": match config.rate {
            Rate::Unlimited => Value::Null,
            Rate::Half => json!("half"),
            Rate::Pages(pages) => json!(pages),
        },
        "reclaim_pages_per_s": summary.throughput,
        "rate_pages_per_s": summary.rate,
        "seconds": summary.sampled.as_secs_f64(),
        "requests": requests.into_iter().collect::<Map<_, _>>(),
        "pages": pages,
        "pages_per_s": per_second(pages, summary.sampled),
        "reclaimed_kswapd": reclaimed.kswapd,
        "reclaimed_direct": reclaimed.direct,
        "allocstall": reclaimed.stalls,
        "latency_ns": latency(&summary.latencies.all),
        "direct_stall_ns": latency(&summary.latencies.direct),
        "samples": {
            "inside": samples.inside,
            "below_min": samples.below,
            "above_high": samples.above,
        },
        "caches": last.caches.iter().zip(&first.caches).map(|(last, first)| json!({
            "name": last.name,
            "pages": last.frames,
            "hits": last.hits - first.hits,
            "misses": last.misses - first.misses,
            "evicted": last.evicted - first.evicted,
        })).collect::<Vec<_>>(),
        "conservation": {
            "holds": summary.conservation.holds(),
            "free": summary.conservation.free(),
            "managed": summary.conservation.managed(),
        },
        "broken": { "count": summary.broken.count, "sentences": summary.broken.sentences },
    })
}

/// Returns a moment as a record; all counts since the begin.
pub(super) fn moment(snapshot: &Snapshot) -> Value {
    json!({
        "kind": "pressure_moment",
        "at_s": snapshot.at.as_secs_f64(),
        "phase": snapshot.phase.name(),
        "zones": snapshot.zones.iter().map(|zone| json!({
            "node": zone.node,
            "zone": zone.name,
            "free": zone.free,
            "min": zone.marks[0],
            "low": zone.marks[1],
            "high": zone.marks[2],
            "boost": zone.boost,
        })).collect::<Vec<_>>(),
        "kswapds": snapshot.kswapds.iter().map(|kswapd| json!({
            "node": kswapd.node.index(),
            "running": kswapd.running,
            "hopeless": kswapd.hopeless,
            "wakeups": kswapd.wakeups,
        })).collect::<Vec<_>>(),
        "requests": snapshot.requests,
        "pages": snapshot.pages,
        "failures": snapshot.failures,
        "reclaimed_kswapd": snapshot.reclaimed.kswapd,
        "reclaimed_direct": snapshot.reclaimed.direct,
        "allocstall": snapshot.reclaimed.stalls,
        "cached_pages": snapshot.caches.iter().map(|cache| cache.frames).sum::<u64>(),
    })
}

/// Returns the name of a reason, without what it is about.
fn name(reason: FailReason) -> String {
    let text = format!("{reason:?}");
    text.split('(').next().unwrap_or_default().to_owned()
}

fn quantiles(histogram: &Histogram<u64>) -> [(&'static str, u64); 4] {
    let at = |quantile| histogram.value_at_quantile(quantile);
    [("p50", at(0.5)), ("p99", at(0.99)), ("p99_9", at(0.999)), ("max", histogram.max())]
}

fn latency(histogram: &Histogram<u64>) -> Value {
    let mut record = json!({ "number": histogram.len() });
    for (name, ns) in quantiles(histogram) {
        record[name] = json!(ns);
    }
    record
}
