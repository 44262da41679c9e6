//! Workloads, rivals, trace replay and reports for gfp.

pub mod commands;
pub mod compare;
pub mod environment;
mod figures;
pub mod measure;
pub mod pollution;
pub mod pressure;
pub mod record;
pub mod replay;
pub mod report;
pub mod rival;
pub mod rivals;
pub mod soak;
mod stamp;
pub mod terminal;
pub mod trace;
pub mod workload;
