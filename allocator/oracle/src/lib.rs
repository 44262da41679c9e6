//! The whole public interface of gfp against a plain model: flags, orders, zones, nodes, policies, scopes and allowed nodes that
//! change between requests, frames that are isolated, taken offline and brought back, areas for contiguous requests, fragments,
//! layouts, and every way to ask and to free, also on another thread. And what is done about memory that is short: shrinkers, deadlines and
//! tokens that cancel, dirty pages, marks and what is set aside, and free memory that goes back to the system.
//!
//! Nothing happens at the side: machines have no threads of their own, and what a kswapd would do is done when a program says that time has
//! passed. So a program does the same each time, on the same CPU.
//!
//! A program is a list of [`Call`]s. [`run`] makes them on the machine of a [`Shape`], and panics at the first answer that the
//! model does not allow. Programs come from [`calls`] (a property shrinks a failure to a few of them), from the bytes of a fuzzer
//! ([`from_bytes`]), from text ([`Program`]), or from whoever makes them, a recorded trace for example.
//!
//! ```
//! use gfp_oracle::{Program, from_bytes, run};
//!
//! let program: Program = "on dma\nAlloc(by:Handle,ask:Pages,gfp:\"GFP_KERNEL\",order:3,times:2)\nCheck".parse()?;
//! let coverage = program.run();
//! assert_eq!(coverage.times("answer", "served"), 1);
//!
//! let (shape, calls) = from_bytes(b"any bytes");
//! let _ = run(shape, &calls);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `call/` | a call with its arguments; calls at random, and out of bytes |
//! | `shapes` | the machines that programs run on |
//! | `program` | programs as text |
//! | `shrink` | from a program that fails to a short one that does |
//! | `model/` | what must be so, kept as plainly as possible |
//! | `machine/` | makes the calls, and compares what comes of them with the model |
//! | `stamped` | fragments whose holder knows them again |
//! | `coverage` | which branches were taken, and that none was left out |

mod call;
mod coverage;
mod machine;
mod model;
mod program;
mod shapes;
mod shrink;
mod stamped;

use std::{env, panic::resume_unwind};

use gfp::{
    platform::pin::{current_cpu, pin_current},
    sync::thread::spawn,
};

use machine::Machine;

pub use call::{Amount, Ask, By, Call, Counted, Free, Limit, Manner, Mask, Policy, Scope, calls, from_bytes};
pub use coverage::Coverage;
pub use program::{ParseProgramError, Program};
pub use shapes::{SHAPES, Shape};
pub use shrink::shrink;
pub use stamped::Stamped;

/// Returns how many times as much random tests are to try: `GFP_TEST_SCALE`, or 1.
///
/// # Panics
/// When that is not a number.
#[must_use]
pub fn test_scale() -> u32 {
    env::var("GFP_TEST_SCALE").map_or(1, |scale| scale.parse().expect("GFP_TEST_SCALE is a number"))
}

/// Makes the calls, gives everything back, and returns which branches were taken.
///
/// All on a thread of its own, which stays on one CPU, so that the node of the thread does not change.
///
/// # Panics
/// At the first answer that the model does not allow.
pub fn run(shape: Shape, calls: &[Call]) -> Coverage {
    let calls = calls.to_vec();
    let program = move || {
        // Where that is forbidden, a program may fail when the thread moves to another node.
        let _: Result<(), _> = pin_current(current_cpu());
        let mut machine = Machine::new(shape);
        calls.iter().for_each(|call| machine.run(call));
        machine.finish(&shape.build())
    };
    spawn(program).join().unwrap_or_else(|panic| resume_unwind(panic))
}
