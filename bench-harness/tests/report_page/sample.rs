//! A record with figures of every kind, and with what is awkward to show: many allocators, long names, failures.

use std::fmt::Write;

const ALLOCATORS: [&str; 13] = [
    "empty",
    "gfp",
    "gfp-tls",
    "mimalloc",
    "jemalloc",
    "snmalloc",
    "buddy-heap",
    "buddy-frames",
    "talc",
    "glibc",
    "mmap",
    "so:/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
    "<rival>",
];
const WORKLOADS: [(&str, u32, &str); 12] = [
    ("pair", 0, ""),
    ("pair", 3, ""),
    ("pair", 9, ""),
    ("batch", 0, ""),
    ("bulk", 0, ""),
    ("random", 0, ",\"set\":\"dram\",\"touch\":\"lines\""),
    ("churn", 0, ""),
    ("handoff", 0, ""),
    ("contended", 10, ""),
    ("ring", 0, ""),
    ("bulk-api", 0, ",\"batch\":256"),
    ("fault", 9, ""),
];

/// Returns the record's lines.
pub(crate) fn record() -> String {
    let mut text = "{\"kind\":\"environment\",\"cpu_model\":\"A CPU of a <long> name with a number @ 3.5 GHz\",\"cpus\":64,\"cores\":32,\"allowed_cpus\":64,\
        \"nodes\":2,\"memory_kb\":131072000,\"kernel\":\"6.12.1\",\"thp\":\"madvise\",\"load\":[0.5,0.25,0.1],\"git_revision\":\"0123456789abcdef0123456789abcdef01234567\",\
        \"git_dirty\":true,\"command_line\":[\"gfp\",\"bench\",\"--threads\",\"1,2,4,8,16,32,64\"],\"time\":\"2026-01-02T03:04:05Z\"}\n"
        .to_owned();
    for (place, (workload, order, rest)) in WORKLOADS.iter().enumerate() {
        for threads in [1_u32, 2, 8, 64] {
            for (number, allocator) in ALLOCATORS.iter().enumerate() {
                let ns = 3.0
                    * 2.1_f64.powi(i32::try_from((number * 5 + place * 3) % 13).unwrap())
                    * (1.0 + f64::from(threads) / 40.0);
                let ns = if *allocator == "gfp" { 5.0 + f64::from(threads) / 10.0 } else { ns };
                let result = match (number, place) {
                    (9, 4) => "\"ns_per_op_above\":123456.7".to_owned(),
                    (10, 2) => "\"failed\":\"a request was refused\"".to_owned(),
                    _ => format!(
                        "\"ns_per_op\":{{\"min\":{},\"median\":{ns},\"max\":{}}},\"mops_per_s\":{},\"latency_ns\":{{\"count\":100000,\"p50\":{ns:.0},\
                         \"p90\":{:.0},\"p99\":{:.0},\"p999\":{:.0},\"p9999\":{:.0},\"max\":{:.0}}},\"memory\":{{\"arena_bytes\":4294967296,\
                         \"rss_bytes\":300000000,\"rss_after_trim_bytes\":20000000}},\"lock\":{{\"acquired\":15.6,\"contended\":0.2,\"held_ns\":900.5}}",
                        ns * 0.8,
                        ns * 1.7,
                        f64::from(threads) * 1e3 / ns,
                        ns * 1.2,
                        ns * 3.0,
                        ns * 20.0,
                        ns * 300.0,
                        ns * 9000.0,
                    ),
                };
                let result = if threads > 1 {
                    result.split(",\"latency_ns\"").next().unwrap().to_owned()
                } else {
                    result
                };
                _ = writeln!(
                    text,
                    "{{\"kind\":\"bench\",\"workload\":\"{workload}\",\"order\":{order},\"allocator\":\"{allocator}\",\"threads\":{threads},\
                     \"workers\":{threads},\"placement\":\"core\",\"simulated\":true{rest},{result}}}"
                );
            }
        }
    }
    for (allocator, speed) in [("gfp", 1.0), ("buddy-heap", 2.0), ("talc", 3.0)] {
        let points: Vec<String> = (0..100)
            .map(|point| {
                let index = |order: i32| 1.0 - (-f64::from(point) * speed * f64::from(order) / 900.0).exp();
                let indices: Vec<String> = (0..=10).map(|order| format!("{:.4}", index(order))).collect();
                let order = 10 - point / 20;
                format!(
                    "{{\"operations\":{},\"live_frames\":{},\"unusable_index\":[{}],\"largest_free_order\":{order}}}",
                    point * 10_000, 20_000 + point * 300, indices.join(",")
                )
            })
            .collect();
        _ = writeln!(
            text,
            "{{\"kind\":\"series\",\"allocator\":\"{allocator}\",\"seed\":1,\"operations\":1000000,\"points\":[{}]}}",
            points.join(",")
        );
    }
    let types = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate"];
    let blocks: Vec<String> = (0..512_usize)
        .map(|block| {
            format!("{{\"type\":\"{}\",\"used_frames\":{}}}", types[block * block % 7 % 6], block * 37 % 513)
        })
        .collect();
    _ = writeln!(
        text,
        "{{\"kind\":\"blocks\",\"allocator\":\"gfp\",\"when\":\"after 1000000 operations\",\"pageblocks\":[{}]}}",
        blocks.join(",")
    );
    for (threads, workers) in [("1", 1), ("trace", 16)] {
        for (allocator, ns) in [
            ("gfp", 14.2),
            ("mimalloc", 29.1),
            ("so:/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", 140.0),
        ] {
            let ours = if allocator == "gfp" { "{\"mean\":4.5,\"peak\":5}" } else { "null" };
            _ = writeln!(
                text,
                "{{\"kind\":\"replay\",\"allocator\":\"{allocator}\",\"trace\":\"traces/python-startup.ftrace.gz\",\"threads\":\"{threads}\",\"workers\":{workers},\
                 \"arena_bytes\":12582912,\"events\":62984,\"failed\":0,\"ns_per_event\":{ns},\"ns_per_event_zeroed\":66.4,\"passes\":{{\"count\":9,\"min\":{},\"max\":{}}},\
                 \"blocks_2m\":{{\"ours\":{ours},\"kernel\":{{\"mean\":306.1,\"peak\":827}}}},\"mixed_blocks_2m\":{{\"ours\":{ours},\"kernel\":{{\"mean\":0.0,\"peak\":0}}}},\
                 \"bias\":\"our arena starts empty\"}}",
                ns * 0.7,
                ns * 1.4
            );
        }
    }
    let points: Vec<String> = (0..60)
        .map(|point| {
            format!(
                "{{\"event\":{},\"ours\":{{\"blocks_2m\":{},\"mixed_blocks_2m\":{},\"highest_free_order\":{}}},\"kernel\":{{\"blocks_2m\":{},\"mixed_blocks_2m\":0}}}}",
                point * 1000, 1 + point / 12, point / 15, 10 - point / 15, 5 * point
            )
        })
        .collect();
    _ = writeln!(
        text,
        "{{\"kind\":\"timeline\",\"allocator\":\"gfp\",\"trace\":\"traces/python-startup.ftrace.gz\",\"points\":[{}]}}",
        points.join(",")
    );
    pressure(&mut text);
    text
}

fn pressure(text: &mut String) {
    for second in 0..30 {
        let zone = |node: u32| {
            format!(
                "{{\"node\":{node},\"zone\":\"Normal\",\"free\":{},\"min\":800,\"low\":1000,\"high\":1200,\"boost\":{}}}",
                900 + second * 97 % 700,
                if second > 20 { 300 } else { 0 }
            )
        };
        _ = writeln!(
            text,
            "{{\"kind\":\"pressure_moment\",\"at_s\":{second}.25,\"phase\":\"sample\",\"zones\":[{},{}]}}",
            zone(0),
            zone(1)
        );
    }
    let times = "{\"number\":1000,\"p50\":900,\"p99\":25000,\"p99_9\":3100000,\"max\":61000000}";
    _ = writeln!(
        text,
        "{{\"kind\":\"pressure\",\"threads\":8,\"arena_bytes\":268435456,\"seconds\":30.0,\"rate_asked\":\"half\",\"pages_per_s\":1600000.0,\"reclaimed_kswapd\":12345678,\
         \"reclaimed_direct\":1234567,\"allocstall\":2170,\"latency_ns\":{times},\"direct_stall_ns\":{times},\"samples\":{{\"inside\":2900,\"below_min\":80,\"above_high\":20}},\
         \"conservation\":{{\"holds\":true}},\"broken\":{{\"count\":1,\"sentences\":[\"a <page> had not what was written to it\"]}}}}"
    );
}
