//! Who did something to a block, and when.

use core::{fmt, panic::Location, time::Duration};

/// The name of a thread as the system has it: at most 15 bytes (`comm`).
#[derive(Copy, Clone, Default, PartialEq, Eq, Hash)]
pub struct ThreadName(
    /// The bytes, zeroes behind them.
    pub [u8; 16],
);

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        self.0[..end].escape_ascii().fmt(f)
    }
}

impl fmt::Debug for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Who allocated or freed a block, and when; what [`DebugModes::PAGE_OWNER`](crate::DebugModes::PAGE_OWNER) records.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The line that called; `None` for a free by drop, which has no caller.
    pub caller: Option<&'static Location<'static>>,
    /// The system's number of the thread (`gettid(2)`).
    pub thread: u32,
    /// The thread's name at that moment.
    pub name: ThreadName,
    /// The time since the allocator was built.
    pub at: Duration,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.caller {
            Some(caller) => caller.fmt(f)?,
            None => f.write_str("a drop")?,
        }
        write!(f, ", thread {} ({}), {:?} after the allocator was built", self.thread, self.name, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_line_thread_and_time() {
        let caller = Location::caller();
        let name = ThreadName(*b"w\xf6rker-7\0\0\0\0\0\0\0\0");
        let trace = Trace { caller: Some(caller), thread: 12, name, at: Duration::from_millis(1500) };
        let text = trace.to_string();
        let expected = format!("{caller}, thread 12 (w\\xf6rker-7), 1.5s after the allocator was built");
        assert_eq!(text, expected);
        assert!(Trace { caller: None, ..trace }.to_string().starts_with("a drop, thread 12"));
    }
}
