//! What gfp is held to, and where it does not reach it.

use crate::{
    figures::{digits, real, time},
    record::{Figure, FragmentationPoint, Outcome, Record, Row},
    rivals::{GFP, is_rival},
};

/// The allocator that is judged.
pub(super) const JUDGED: &str = GFP;

/// A sentence about gfp that nobody likes to read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss {
    /// What it is about.
    pub(super) what: String,
    /// gfp's figure.
    pub(super) ours: String,
    /// What it should be, or what somebody else reaches.
    pub(super) theirs: String,
    /// gfp's figure divided by the other, where there are two.
    pub(super) ratio: Option<f64>,
}

/// How gfp stands in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict<'a> {
    /// gfp's figure.
    pub(super) ours: &'a Figure,
    /// The best rival's name and median, if any was measured.
    pub(super) best: Option<(&'a str, f64)>,
    /// gfp's median divided by the best rival's.
    pub(super) ratio: Option<f64>,
    /// What that is to be at the most, where there is a bar.
    pub(super) aim: Option<f64>,
}

impl Verdict<'_> {
    /// Tells whether gfp reaches its aim; nothing where it has none or it cannot be told.
    pub(super) fn is_met(&self) -> Option<bool> {
        Some(self.ratio? <= self.aim?)
    }
}

/// Returns what gfp's time divided by the best rival's is to be at the most, on one and two threads.
fn aim(row: &Row) -> Option<f64> {
    let usual = row.threads <= 2 && row.set.is_none() && row.touch.as_deref() != Some("lines");
    let aim = match (row.workload.as_str(), row.order) {
        ("pair", 0 | 3) => 0.5,
        ("pair", 9) => 0.7,
        (
            "batch" | "bulk" | "random" | "churn" | "handoff" | "larson" | "ring" | "bulk-api" | "contended",
            _,
        ) => 0.5,
        _ => return None,
    };
    usual.then_some(aim)
}

/// Tells whether gfp is compared with an allocator in a row.
fn counts(row: &Row, allocator: &str) -> bool {
    // Mallocs keep what buddies split and merge under their lock: only other buddies do the same work.
    let buddies = ["buddy-heap", "buddy-frames"];
    is_rival(allocator) && (row.workload != "contended" || buddies.contains(&allocator))
}

/// Judges gfp in a row, if it was there.
pub(super) fn judge<'a>(row: &[&'a Figure]) -> Option<Verdict<'a>> {
    let ours = row.iter().find(|figure| figure.cell.allocator == JUDGED)?;
    let key = &ours.cell.row;
    let best = row
        .iter()
        .filter(|figure| counts(key, &figure.cell.allocator))
        .filter_map(|figure| Some((figure.cell.allocator.as_str(), figure.median()?)))
        .min_by(|left, right| left.1.total_cmp(&right.1));
    let ratio = ours.median().zip(best).map(|(ours, (_, best))| ours / best);
    Some(Verdict { ours, best, ratio, aim: aim(key) })
}

/// Finds every place of a record where gfp loses or misses its aim.
pub(super) fn losses(record: &Record) -> Vec<Loss> {
    let rows = record.rows();
    let mut losses: Vec<Loss> = rows.iter().filter_map(|row| time_lost(row)).collect();
    losses.extend(rows.iter().filter_map(|row| latency_lost(row)));
    losses.extend(replays_lost(record));
    losses.extend(fragmentation_lost(record));
    for pressure in record.pressure.iter().filter(|run| run.broken.count > 0 || !run.conservation.holds) {
        losses.push(Loss {
            what: format!("pressure, {} threads", pressure.threads),
            ours: format!("broken rules: {}", pressure.broken.count),
            theirs: "none is to be".into(),
            ratio: None,
        });
    }
    // The worst first; what cannot be put into a ratio before all.
    let severity = |loss: &Loss| loss.ratio.unwrap_or(f64::INFINITY);
    losses.sort_by(|left, right| severity(right).total_cmp(&severity(left)));
    losses
}

fn time_lost(row: &[&Figure]) -> Option<Loss> {
    let verdict = judge(row)?;
    let what = verdict.ours.cell.row.to_string();
    match verdict.ours.outcome() {
        Outcome::Failed(why) => {
            return Some(Loss {
                what,
                ours: format!("failed: {why}"),
                theirs: "to work".into(),
                ratio: None,
            });
        }
        Outcome::Above(ns) => {
            let ours = format!("not waited for: more than {} ns", digits(ns));
            return Some(Loss { what, ours, theirs: "to be measured".into(), ratio: None });
        }
        Outcome::Measured(_) => {}
    }
    let ((name, best), ratio) = verdict.best.zip(verdict.ratio)?;
    let most = verdict.aim.unwrap_or(1.0);
    let ours = format!("{} ns", digits(verdict.ours.median()?));
    (ratio > most).then_some(Loss { what, ours, theirs: best_time(name, best, most), ratio: Some(ratio) })
}

/// Says what the best rival takes, and how much of it gfp may take at the most where that is less than all.
fn best_time(name: &str, best: f64, most: f64) -> String {
    let aim = if most < 1.0 { format!("; aim: at most {most} of it") } else { String::new() };
    format!("{} ns ({name}){aim}", digits(best))
}

fn latency_lost(row: &[&Figure]) -> Option<Loss> {
    let ours = row.iter().find(|figure| figure.cell.allocator == JUDGED)?;
    let key = &ours.cell.row;
    let tail = |figure: &Figure| Some(figure.latency_ns?.p999);
    let (name, best) = row
        .iter()
        .filter(|figure| counts(key, &figure.cell.allocator))
        .filter_map(|figure| Some((figure.cell.allocator.as_str(), tail(figure)?)))
        .min_by_key(|&(_, ns)| ns)?;
    let ours = tail(ours)?;
    (ours > best).then(|| Loss {
        what: format!("{key}: p99.9 of single operations"),
        ours: time(ours),
        theirs: format!("{} ({name})", time(best)),
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
        ratio: Some(ours as f64 / best as f64),
    })
}

fn replays_lost(record: &Record) -> Vec<Loss> {
    let mut losses = Vec::new();
    for ours in record.replays.iter().filter(|replay| replay.allocator == JUDGED) {
        let what = format!("replay of {}, threads {}", file_name(&ours.trace), ours.threads);
        let others = record.replays.iter().filter(|replay| {
            (&replay.trace, &replay.threads) == (&ours.trace, &ours.threads) && is_rival(&replay.allocator)
        });
        // Several threads wait for each other's events, whatever they allocate with.
        let most = if ours.threads == "1" { 0.5 } else { 1.0 };
        if let Some(best) = others.min_by(|left, right| left.ns_per_event.total_cmp(&right.ns_per_event))
            && ours.ns_per_event > most * best.ns_per_event
        {
            losses.push(Loss {
                what: what.clone(),
                ours: format!("{} ns an event", digits(ours.ns_per_event)),
                theirs: best_time(&best.allocator, best.ns_per_event, most),
                ratio: Some(ours.ns_per_event / best.ns_per_event),
            });
        }
        for (name, pair) in
            [("2 MiB blocks in use", ours.blocks_2m), ("2 MiB blocks of mixed types", ours.mixed_blocks_2m)]
        {
            if let Some(mean) = pair.ours.filter(|placement| placement.mean > pair.kernel.mean) {
                losses.push(Loss {
                    what: format!("{what}: {name}"),
                    ours: format!("{} on average", digits(mean.mean)),
                    theirs: format!("{} (as recorded)", digits(pair.kernel.mean)),
                    ratio: (pair.kernel.mean > 0.0).then(|| mean.mean / pair.kernel.mean),
                });
            }
        }
        if ours.failed > 0 {
            let ours = format!("{} allocations failed", ours.failed);
            losses.push(Loss { what, ours, theirs: "none is to".into(), ratio: None });
        }
    }
    losses
}

fn fragmentation_lost(record: &Record) -> Option<Loss> {
    let mean = |allocator: &str| {
        let series = record.fragmentation.iter().find(|series| series.allocator == allocator)?;
        let last = |point: &FragmentationPoint| point.unusable_index.last().copied().flatten();
        let values: Vec<f64> = series.points.iter().filter_map(last).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / real(values.len()))
    };
    let ours = mean(JUDGED)?;
    let rivals = record.fragmentation.iter().map(|series| series.allocator.as_str());
    let (name, best) = rivals
        .filter(|name| is_rival(name))
        .filter_map(|name| Some((name, mean(name)?)))
        .min_by(|left, right| left.1.total_cmp(&right.1))?;
    (ours > best).then(|| Loss {
        what: "fragmentation: unusable index of the largest order, mean".into(),
        ours: digits(ours),
        theirs: format!("{} ({name})", digits(best)),
        ratio: (best > 0.0).then(|| ours / best),
    })
}

/// Returns a file's name without its folder.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{figure, record},
        *,
    };

    #[test]
    fn the_best_rival_is_neither_gfp_nor_empty_and_for_contended_a_buddy() {
        let row = |workload: &str| {
            record(&["empty", "gfp", "gfp-tls", "gfp-slow", "mimalloc", "buddy-heap", "buddy-frames"].map(
                |name| {
                    let ns = match name {
                        "empty" => 1.0,
                        "gfp" => 10.0,
                        "mimalloc" => 15.0,
                        "buddy-heap" => 40.0,
                        "buddy-frames" => 90.0,
                        _ => 8.0,
                    };
                    figure(workload, 0, 1, name, ns)
                },
            ))
        };
        let pair = row("pair");
        let verdict = judge(&pair.rows()[0]).unwrap();
        assert_eq!(
            (verdict.best, verdict.aim, verdict.is_met()),
            (Some(("mimalloc", 15.0)), Some(0.5), Some(false))
        );
        let contended = row("contended");
        let verdict = judge(&contended.rows()[0]).unwrap();
        assert_eq!((verdict.best, verdict.is_met()), (Some(("buddy-heap", 40.0)), Some(true)));
    }

    #[test]
    fn a_missed_aim_a_slower_tail_and_a_failure_are_losses() {
        let lost = losses(&record(&[figure("pair", 0, 1, "gfp", 6.0), figure("pair", 0, 1, "glibc", 10.0)]));
        assert_eq!(lost.len(), 1);
        assert!(lost[0].ratio == Some(0.6) && lost[0].theirs.contains("aim: at most 0.5"), "{lost:?}");
        assert!(
            losses(&record(&[figure("pair", 0, 1, "gfp", 5.0), figure("pair", 0, 1, "glibc", 10.0)]))
                .is_empty()
        );
        // Without an aim only who is slower has lost.
        assert!(
            losses(&record(&[figure("fault", 0, 1, "gfp", 6.0), figure("fault", 0, 1, "glibc", 10.0)]))
                .is_empty()
        );
        assert_eq!(
            losses(&record(&[figure("pair", 0, 8, "gfp", 11.0), figure("pair", 0, 8, "glibc", 10.0)])).len(),
            1
        );
        let tail = |p999: f64| {
            format!(
                ",\"latency_ns\":{{\"count\":9,\"p50\":1,\"p90\":1,\"p99\":1,\"p999\":{p999},\"p9999\":1,\"max\":1}}}}"
            )
        };
        let with_tail = |name: &str, ns: f64, p999: f64| {
            figure("pair", 0, 1, name, ns).strip_suffix('}').unwrap().to_owned() + &tail(p999)
        };
        let lost = losses(&record(&[with_tail("gfp", 1.0, 2500.0), with_tail("glibc", 10.0, 900.0)]));
        assert_eq!((lost.len(), lost[0].ours.as_str()), (1, "2.5 µs"), "{lost:?}");
        let failed = "{\"kind\":\"bench\",\"workload\":\"pair\",\"order\":0,\"threads\":1,\"workers\":1,\"allocator\":\"gfp\",\"failed\":\"why\"}";
        assert!(losses(&record(&[failed.to_owned()]))[0].ours.contains("why"));
    }

    fn committed() -> Record {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm");
        Record::read(std::path::Path::new(folder)).unwrap()
    }

    #[test]
    fn a_replay_has_an_aim_on_one_thread() {
        for (ours, threads, is_lost) in
            [(5.0, "1", false), (6.0, "1", true), (6.0, "trace", false), (11.0, "trace", true)]
        {
            let mut record = committed();
            record.replays.retain(|replay| replay.threads == threads);
            for replay in &mut record.replays {
                replay.ns_per_event = if replay.allocator == JUDGED { ours } else { 10.0 };
            }
            let lost = replays_lost(&record);
            let times: Vec<_> = lost.iter().filter(|loss| loss.ours.contains("an event")).collect();
            assert_eq!(times.is_empty(), !is_lost, "{ours} ns, {threads}: {lost:?}");
            let names_aim = |loss: &&Loss| loss.theirs.contains("aim: at most 0.5");
            assert!(threads == "trace" || times.iter().all(names_aim), "{lost:?}");
        }
    }

    #[test]
    fn the_committed_record_says_where_gfp_loses() {
        let lost = losses(&committed());
        assert!(
            lost.iter().any(|loss| loss.what.contains("mixed types") && loss.theirs.contains("as recorded")),
            "{lost:?}"
        );
    }
}
