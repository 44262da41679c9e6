//! The node: which zones its requests try, and in which order.

#![deny(unsafe_code)]

mod layout;
mod zonelist;

pub use layout::{ZonePlan, zone_spans};
pub use zonelist::Zonelist;
