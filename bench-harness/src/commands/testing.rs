//! Command lines for the tests of the commands.

use anyhow::Result;
use clap::{Args, Parser};
use serde_json::Value;

#[derive(Parser)]
struct Command<A: Args> {
    #[command(flatten)]
    args: A,
}

/// Parses a line of arguments, those of a command; or the message about it.
pub(in crate::commands) fn parse<A: Args>(line: &str) -> Result<A, String> {
    Command::try_parse_from(std::iter::once("gfp").chain(line.split_whitespace()))
        .map(|command| command.args)
        .map_err(|error| error.to_string())
}

/// Returns what `run` returns, and the records that it emits.
pub(in crate::commands) fn with_records<R>(
    run: impl FnOnce(&mut dyn FnMut(Value) -> Result<()>) -> Result<R>,
) -> (Result<R>, Vec<Value>) {
    let mut records = Vec::new();
    let result = run(&mut |record| {
        records.push(record);
        Ok(())
    });
    (result, records)
}
