//! The instruction gate: how many instructions an order-0 pair on a hit of the thread's cache executes.
//!
//! Counted, not timed, so that a busy machine does not matter: the program runs itself under callgrind, once with so many
//! pairs and once with twice as many. The difference is the pairs'; what a loop costs that only passes a block's two
//! words on is subtracted. Flags and order are constant, features and profile those of `make gate`.

use std::{
    env,
    hint::black_box,
    io,
    process::{Command, ExitCode},
};

use gfp::{Allocator, Gfp, Handle, Maintain, Order};

/// Leads a process to one loop; followed by its name and the number of turns.
const COUNT: &str = "--count";
/// Turns of the shorter run: the noise of a process, some thousand instructions, is then below a tenth of an instruction.
const TURNS: u64 = 100_000;

/// A loop, and what a turn may cost.
struct Way {
    name: &'static str,
    run: fn(&Allocator, &Handle, u64),
    /// In instructions of x86-64, without the loop's own.
    at_most: f64,
}

const OVERHEAD: Way = Way { name: "loop", run: |_, _, turns| pass_on(turns), at_most: f64::INFINITY };
const GATED: [Way; 2] = [
    Way { name: "handle", run: |_, handle, turns| through_the_handle(handle, turns), at_most: 60.0 },
    Way { name: "thread-local", run: |allocator, _, turns| by_thread(allocator, turns), at_most: 75.0 },
];

/// Passes a block's two words on, as the other loops do.
#[inline(never)]
fn pass_on(turns: u64) {
    // Of unequal size, so that no vector instruction moves both at once: the others have their words in two registers.
    let mut block = (1_u64, 2_u32);
    for _ in 0..turns {
        block = black_box(block);
    }
}

#[inline(never)]
fn through_the_handle(handle: &Handle, turns: u64) {
    for _ in 0..turns {
        if let Ok(block) = handle.alloc_pages(Gfp::KERNEL, Order::ZERO) {
            handle.free_pages(black_box(block));
        }
    }
}

#[inline(never)]
fn by_thread(allocator: &Allocator, turns: u64) {
    for _ in 0..turns {
        if let Ok(block) = allocator.alloc_pages(Gfp::KERNEL, Order::ZERO) {
            drop(black_box(block));
        }
    }
}

/// Runs one loop on a warm cache.
fn count(name: &str, turns: u64) {
    // Nothing else happens in this process.
    let allocator =
        Allocator::builder(256 << 20).maintain(Maintain::ByHand).build().expect("256 MiB can be had");
    let handle = allocator.handle().expect("a thread gets a cache");
    let run = [OVERHEAD].iter().chain(&GATED).find(|way| way.name == name).expect("a known way").run;
    run(&allocator, &handle, 100 + turns);
}

/// Runs a loop under callgrind and returns how many instructions the process executed.
fn collect(name: &str, turns: u64) -> Result<u64, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().map_err(|error| error.to_string())?)
        .args([COUNT, name, &turns.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let report = String::from_utf8_lossy(&output.stderr);
    let number = report.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    number.filter(|_| output.status.success()).ok_or_else(|| format!("{}\n{report}", output.status))
}

/// Returns the instructions of one turn of a loop.
fn a_turn(name: &str) -> Result<f64, String> {
    let (short, long) = (collect(name, TURNS)?, collect(name, 2 * TURNS)?);
    // What else differs between two runs is below a tenth: it is rounded away.
    Ok((10.0 * (long as f64 - short as f64) / TURNS as f64).round() / 10.0)
}

fn gate() -> Result<ExitCode, String> {
    let overhead = a_turn(OVERHEAD.name)?;
    println!("instructions of an order-0 pair on a hit, the loop's {overhead:.1} subtracted:");
    let mut exit = ExitCode::SUCCESS;
    for way in GATED {
        let pair = a_turn(way.name)? - overhead;
        // Every instruction set has counts of its own.
        let verdict = match pair {
            _ if !cfg!(target_arch = "x86_64") => "no limit on this architecture",
            _ if pair < 1.0 => "FAILED: nothing was counted",
            _ if pair > way.at_most => "FAILED",
            _ => "ok",
        };
        println!("  {:<14}{pair:>6.1}  at most {}  {verdict}", way.name, way.at_most);
        if verdict.starts_with("FAILED") {
            exit = ExitCode::FAILURE;
        }
    }
    Ok(exit)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name, turns] = &*arguments
        && flag == COUNT
    {
        count(name, turns.parse().expect("a number of turns"));
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        println!("instruction gate: skipped: a build with debug assertions; run make gate");
        return ExitCode::SUCCESS;
    }
    match Command::new("valgrind").arg("--version").output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("instruction gate: skipped: valgrind is missing");
            ExitCode::SUCCESS
        }
        _ => gate().unwrap_or_else(|error| {
            eprintln!("instruction gate: FAILED: {error}");
            ExitCode::FAILURE
        }),
    }
}
