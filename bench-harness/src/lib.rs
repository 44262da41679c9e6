//! Workloads, rivals, trace replay and reports for gfp.

pub mod rival;
pub mod trace;
