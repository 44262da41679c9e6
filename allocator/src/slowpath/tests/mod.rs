//! The machine against a plain reading of the rules, in worlds that answer at random.

mod reference;
mod rules;
mod script;
