//! From a program that fails to a short one that does.

use std::panic::{catch_unwind, set_hook, take_hook};

use gfp::sync::{Arc, Mutex};

use crate::{Call, Program, run};

/// Where a program panicked first.
type Place = Option<String>;

/// Finds out where programs panic.
struct Trial {
    place: Arc<Mutex<Place>>,
    wanted: Place,
}

impl Trial {
    fn place_of(&self, program: &Program) -> Place {
        *self.place.lock() = None;
        let _ = catch_unwind(|| run(program.shape, &program.calls));
        self.place.lock().take()
    }

    /// Tells whether a program panics in the place that is wanted.
    fn fails(&self, program: &Program) -> bool {
        self.place_of(program) == self.wanted
    }
}

/// Returns a program that fails in the same place with as few calls of a failing one as can be found by leaving out some, and with
/// small numbers; none if it does not fail.
///
/// Nothing is printed of the programs that fail on the way, nor of other panics of the process meanwhile.
#[must_use]
pub fn shrink(program: &Program) -> Option<Program> {
    let hook = take_hook();
    let mut trial = Trial { place: Arc::default(), wanted: None };
    let place = Arc::clone(&trial.place);
    set_hook(Box::new(move |panic| {
        place.lock().get_or_insert_with(|| panic.location().map(ToString::to_string).unwrap_or_default());
    }));
    trial.wanted = trial.place_of(program);
    let short = trial.wanted.is_some().then(|| {
        let mut short = program.clone();
        leave_out(&trial, &mut short);
        simplify(&trial, &mut short);
        // With other numbers, more may be needless.
        leave_out(&trial, &mut short);
        short
    });
    set_hook(hook);
    short
}

/// Leaves out calls: many at a time, then fewer.
fn leave_out(trial: &Trial, program: &mut Program) {
    let mut many = program.calls.len().next_power_of_two();
    while many > 0 {
        // From the end: what is behind the failure goes at once.
        let mut end = program.calls.len();
        while end > 0 {
            let start = end.saturating_sub(many);
            let mut shorter = program.clone();
            shorter.calls.drain(start..end);
            if trial.fails(&shorter) {
                *program = shorter;
            }
            end = start;
        }
        many /= 2;
    }
}

/// Makes each number that a call's text has as small as it may be.
fn simplify(trial: &Trial, program: &mut Program) {
    for index in 0..program.calls.len() {
        let numbers = numbers_of(&program.calls[index].to_string()).len();
        for place in 0..numbers {
            let simpler = [0, 1, 2, 3, 9, 60].into_iter().filter_map(|value| {
                let mut simpler = program.clone();
                simpler.calls[index] = with_number(&program.calls[index], place, value)?;
                Some(simpler)
            });
            if let Some(simpler) = simpler.into_iter().find(|simpler| trial.fails(simpler)) {
                *program = simpler;
            }
        }
    }
}

/// Returns where the numbers of a call's text are: start and end of each.
fn numbers_of(text: &str) -> Vec<(usize, usize)> {
    let is_digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let starts =
        (1..text.len()).filter(|&at| is_digit(at) && !text.as_bytes()[at - 1].is_ascii_alphanumeric());
    starts.map(|at| (at, (at..).find(|&end| !is_digit(end)).unwrap_or(at))).collect()
}

/// Returns a call with another number at a place, if that is smaller and means something.
fn with_number(call: &Call, place: usize, value: u64) -> Option<Call> {
    let mut text = call.to_string();
    let (start, end) = *numbers_of(&text).get(place)?;
    let before: u64 = text[start..end].parse().ok()?;
    text.replace_range(start..end, &value.to_string());
    if value < before { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_call_are_made_smaller_one_by_one() {
        let call: Call = "Layout(gfp:\"GFP_DMA32\",bytes:4096,align:12,zeroed:true)".parse().expect("a call");
        assert_eq!(numbers_of(&call.to_string()).len(), 2);
        let smaller = with_number(&call, 0, 60).expect("60 is less than 4096");
        assert_eq!(smaller.to_string(), "Layout(gfp:\"GFP_DMA32\",bytes:60,align:12,zeroed:true)");
        assert_eq!(with_number(&call, 1, 60), None);
    }

    #[test]
    fn what_does_not_fail_is_not_shrunk() {
        let program: Program = "on dma\nCheck".parse().expect("a program");
        assert!(shrink(&program).is_none());
    }
}
