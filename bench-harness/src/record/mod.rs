//! Records: folders of JSON lines that the commands write, and that `gfp compare` and `gfp report` read.
//!
//! A record is a folder. Each of its `.jsonl` files has one JSON object a line: first `{"kind":"environment",…}`, the machine
//! and the command that took what follows, then figures of the kinds of [`Record`]. Kinds and fields that a reader does not
//! know are ignored, and whatever came later than the first records is optional, so that old records stay readable.

mod figure;
mod fragmentation;
mod json_lines;
mod pressure;
mod reader;
mod replay;
mod resume;

pub use figure::{Cell, Figure, Outcome, Row, Spread};
pub use fragmentation::{Blocks, Fragmentation, FragmentationPoint, Pageblock};
pub use json_lines::JsonLines;
pub use pressure::{Moment, Pressure, Requests, Zone};
pub use reader::{Record, Run};
pub use replay::{Beside, MeanPeak, Passes, Place, Replay, Timeline, TimelinePoint};
pub use resume::{BENCH_FILE, Resume};
