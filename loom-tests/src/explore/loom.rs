//! Every schedule.

use crate::Model;

/// Runs `program` under every schedule that the model asks for.
pub(crate) fn explore(model: &Model, program: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = model.preemptions;
    builder.check(program);
}

/// Says what is explored.
pub(crate) fn describe() -> String {
    "every schedule".to_owned()
}
