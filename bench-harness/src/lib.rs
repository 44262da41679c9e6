//! Workloads, rivals, trace replay and reports for gfp.

pub mod environment;
pub mod replay;
pub mod report;
pub mod rival;
pub mod trace;
