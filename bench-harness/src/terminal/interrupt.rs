//! Ctrl-C that ends a command at a place of its own choice.

use std::sync::{Arc, atomic::AtomicBool};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Returns what the first Ctrl-C sets; the second one ends the process, as ever.
///
/// # Errors
/// The signals cannot be waited for.
pub fn interrupts() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: what is set by the first one arms the other.
        flag::register_conditional_default(signal, Arc::clone(&interrupted))
            .and_then(|_| flag::register(signal, Arc::clone(&interrupted)))
            .context("cannot wait for Ctrl-C")?;
    }
    Ok(interrupted)
}
