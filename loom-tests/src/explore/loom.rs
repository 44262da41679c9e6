//! Every schedule.

use crate::Model;

/// The name of the README's table.
pub(crate) const TABLE: &str = "models";
/// What writes it.
pub(crate) const COMMAND: &str = "cargo loom -- --table";

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

/// Says which schedules a model asks for.
pub(crate) fn schedules(model: &Model) -> String {
    match model.preemptions {
        None => "all schedules".to_owned(),
        Some(most) => format!("schedules of at most {most} preemptions"),
    }
}
