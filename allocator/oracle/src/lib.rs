//! The whole public interface of gfp against a plain model: nodes, policies and allowed nodes that change between requests,
//! frames that are isolated, taken offline and brought back, areas for contiguous requests, and every way to ask and to free.
//!
//! A program is a list of [`Call`]s; [`run`] makes them on the machine of a [`Shape`], and panics at the first answer that the
//! model does not allow. Properties, fuzzers and traces feed it programs.

mod call;
mod coverage;
mod machine;
mod model;
mod shapes;

use machine::Machine;

pub use call::{Call, Free, Kind, Policy, calls};
pub use coverage::Coverage;
pub use shapes::{SHAPES, Shape};

/// Makes the calls, gives everything back, and returns which branches were taken.
///
/// # Panics
/// At the first answer that the model does not allow.
#[must_use]
pub fn run(shape: Shape, calls: &[Call]) -> Coverage {
    let mut machine = Machine::new(shape.build());
    for call in calls {
        machine.run(call);
    }
    machine.check();
    machine.finish(&shape.build())
}
