//! What a reader should know before the figures: where gfp loses, and on what they were measured.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    Bias,
    judge::{Loss, judge, losses as lost},
    section::{Section, cell, table},
};
use crate::{
    environment::Environment,
    figures::{count, digits, size},
    record::{Figure, Record},
};

/// How many losses are shown without a click.
const IN_SIGHT: usize = 20;

/// Makes the list of everything in which gfp is not the best or misses its aim.
pub(super) fn losses(record: &Record) -> Markup {
    let lost = lost(record);
    let judged =
        record.rows().iter().filter(|row| judge(row).is_some_and(|verdict| verdict.ratio.is_some())).count();
    let line = |loss: &Loss| {
        let ratio = loss.ratio.map_or_else(|| "–".into(), digits);
        vec![cell(&loss.what), cell(&loss.ours), cell(&loss.theirs), cell(ratio)]
    };
    let lines: Vec<Vec<Markup>> = lost.iter().map(line).collect();
    let (worst, others) = lines.split_at(lines.len().min(IN_SIGHT));
    let head = ["what", "gfp", "the best other", "gfp ÷ it"];
    html! {
        section.losses {
            h3 { "Where gfp loses" }
            @if lost.is_empty() {
                p { "Nowhere in this record: it was compared with rivals in " (count(judged, "row")) "." }
            } @else {
                p {
                    "In " (count(lost.len(), "figure")) " of this record gfp is not the best or misses its aim, the worst first. "
                    "It was compared with rivals in " (count(judged, "row")) " of workload and threads, and in what else is below."
                }
                (table(&head, worst))
                @if !others.is_empty() {
                    details { summary { "And " (others.len()) " more" } (table(&head, others)) }
                }
            }
        }
    }
}

/// The workload that is simulated on a machine with one node.
const REMOTE: &str = "remote";

/// Shows the machine, the circumstances and the commands of the runs whose figures are shown.
pub(super) fn environment(record: &Record) -> Markup {
    let Some(first) = record.runs.first().map(|run| &run.environment) else { return html! {} };
    let commands: Vec<&Environment> = record.runs.iter().map(|run| &run.environment).collect();
    let revisions: BTreeSet<String> = commands.iter().map(|run| revision(run)).collect();
    let machines: BTreeSet<&str> = commands.iter().map(|run| run.cpu_model.as_str()).collect();
    let (remote, others): (Vec<&Figure>, Vec<&Figure>) = record
        .figures
        .iter()
        .filter(|figure| figure.simulated)
        .partition(|figure| figure.cell.row.workload == REMOTE);
    html! {
        section {
            h3 { "Machine and commands" }
            @if machines.len() > 1 {
                p.warning { "The files of this record are from several machines: their figures do not belong together." }
            }
            @if !others.is_empty() {
                p.warning { "Simulated: more CPUs were described than the machine has; threads took turns on those that exist." }
            } @else if !remote.is_empty() {
                p { "remote is simulated: all CPUs are of one node, and blocks went to another CPU of it." }
            }
            @for file in &record.cut_off {
                p.warning { "The last line of " (file.display()) " was cut off by an interrupt and is left out." }
            }
            dl {
                dt { "CPU" } dd { (first.cpu_model) ", " (count(first.cores, "core")) ", " (count(first.cpus, "CPU")) " of which " (first.allowed_cpus) " may be used" }
                dt { "NUMA nodes" } dd { (first.nodes) }
                @if let Some(kilobytes) = first.memory_kb { dt { "memory" } dd { (size(kilobytes << 10)) } }
                dt { "kernel" } dd { (first.kernel) }
                dt { "transparent huge pages" } dd { (first.thp) }
                dt { "frequency governor" } dd { (first.governor.as_deref().unwrap_or("none")) }
                dt { "revision" } dd { @for revision in &revisions { code { (revision) } " " } }
            }
            @for run in &commands {
                p.command {
                    code { (run.command_line.join(" ")) }
                    br;
                    small {
                        (run.time)
                        @if let Some([minute, five, quarter]) = run.load {
                            ", load " (minute) " · " (five) " · " (quarter) " over 1 · 5 · 15 minutes"
                        }
                    }
                }
            }
        }
    }
}

fn revision(run: &Environment) -> String {
    let short: String = run.git_revision.chars().take(12).collect();
    if run.git_dirty == Some(true) { format!("{short} with changes") } else { short }
}

/// Says what the allocators do that others don't, as far as it is known.
pub(super) fn biases(allocators: &[&str], bias: &Bias<'_>) -> Markup {
    let known: Vec<(&str, &str)> =
        allocators.iter().filter_map(|&allocator| Some((allocator, bias(allocator)?))).collect();
    html! {
        @if !known.is_empty() {
            section {
                h3 { "What the allocators do differently" }
                dl.wide { @for (allocator, text) in known { dt { (allocator) } dd { (text) } } }
            }
        }
    }
}

/// Names what the record has not, and the commands that measure it.
pub(super) fn missing(record: &Record, missing: &[&Section]) -> Markup {
    let folder = record.path.display().to_string();
    html! {
        @if !missing.is_empty() {
            section {
                h3 { "Not in this record" }
                dl.wide {
                    @for section in missing {
                        dt { (section.title) }
                        dd { code { (section.command.replace("DIR", &folder)) } }
                    }
                }
            }
        }
    }
}
