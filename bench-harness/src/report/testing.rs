//! Records for the tests of reports.

use std::{fs, path::PathBuf};

use crate::record::Record;

/// Returns the line of a figure whose extremes are a tenth apart from its median.
pub(super) fn figure(workload: &str, order: u32, threads: usize, allocator: &str, ns: f64) -> String {
    format!(
        "{{\"kind\":\"bench\",\"workload\":\"{workload}\",\"order\":{order},\"threads\":{threads},\"workers\":{threads},\
         \"allocator\":\"{allocator}\",\"ns_per_op\":{{\"min\":{},\"median\":{ns},\"max\":{}}},\"mops_per_s\":{}}}",
        ns * 0.9,
        ns * 1.1,
        crate::figures::real(threads) * 1e3 / ns,
    )
}

/// Makes a record of these lines.
pub(super) fn record(lines: &[String]) -> Record {
    let unique = format!("{:?}", std::thread::current().id());
    let file: PathBuf = std::env::temp_dir().join(format!("report-{}-{unique}.jsonl", std::process::id()));
    let head = "{\"kind\":\"environment\",\"cpu_model\":\"A <CPU>\",\"cpus\":2,\"command_line\":[\"gfp\",\"bench\"]}";
    fs::write(&file, format!("{head}\n{}\n", lines.join("\n"))).unwrap();
    let record = Record::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    record
}
