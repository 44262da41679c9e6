//! The report: one page that shows records to people, and its plots as files.
//!
//! The page needs nothing from elsewhere: styles and plots are within. What a record has not is named, with the command that
//! measures it, and where gfp loses comes first.

mod costs;
mod fragmentation;
mod judge;
mod latency;
mod overview;
mod page;
mod plot;
mod pressure;
mod readme;
mod replay;
mod scaling;
mod section;
#[cfg(test)]
mod testing;
mod times;

pub use page::{Page, page};
pub use readme::{Excerpt, excerpt, replace_results};

/// Returns what an allocator does that others don't, or doesn't that others do; nothing where that is not known.
pub type Bias<'a> = dyn Fn(&str) -> Option<&'static str> + 'a;
