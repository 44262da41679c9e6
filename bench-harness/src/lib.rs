//! Workloads, rivals, trace replay and reports for gfp.

pub mod commands;
pub mod measure;
pub mod rival;
pub mod rivals;
pub mod workload;
