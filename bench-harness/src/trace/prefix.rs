//! The left part of a line: task, CPU, time and name of the tracepoint.
//!
//! | program | layout |
//! |---|---|
//! | ftrace | `comm-PID [CPU] flags secs.usecs: event: text`, optionally `(TGID)` before the CPU; 4 flags up to 5.15, 5 later |
//! | trace-cmd report | `comm-PID [CPU] secs.usecs: event:  text`, newer ones with ftrace's flags |
//! | perf script | `comm PID [CPU] secs.usecs: kmem:event: text`, optionally `PID/TID` |
//!
//! A command name may hold spaces, dashes, brackets and colons, so everything is found from the right: the last colon
//! that has an event's name, a time and a CPU before it.

use memchr::memrchr_iter;

/// How the task is written, which tells the programs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskStyle {
    /// `comm-PID`: ftrace and trace-cmd.
    Dash,
    /// `comm PID`: perf script.
    Space,
}

/// A line split at its event's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix<'a> {
    /// How the task was written.
    pub(super) style: TaskStyle,
    /// The CPU that the event happened on.
    pub(super) cpu: u16,
    /// The tracepoint's name without its system.
    pub(super) event: &'a [u8],
    /// What follows the event's colon.
    pub(super) text: &'a [u8],
}

/// Splits a line of any of the layouts, or returns `None` when it has none of them.
pub(super) fn split(line: &[u8]) -> Option<Prefix<'_>> {
    memrchr_iter(b':', line).find_map(|colon| split_at(line, colon))
}

fn split_at(line: &[u8], colon: usize) -> Option<Prefix<'_>> {
    let text = &line[colon + 1..];
    if text.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    let (left, name) = last_token(&line[..colon]);
    let event = match name.iter().position(|&byte| byte == b':') {
        Some(system_end) => &name[system_end + 1..],
        None => name,
    };
    if event.is_empty() || !event.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let (mut left, mut time) = last_token(left);
    if is_number(time) {
        // perf script can be asked to print the sample's period between time and event.
        (left, time) = last_token(left);
    }
    let time = time.strip_suffix(b":")?;
    let mut parts = time.splitn(2, |&byte| byte == b'.');
    if !parts.all(is_number) {
        return None;
    }
    let (mut left, mut bracketed) = last_token(left);
    if !bracketed.starts_with(b"[") {
        // The column of interrupt and preemption flags.
        if bracketed.len() > 8 {
            return None;
        }
        (left, bracketed) = last_token(left);
    }
    let cpu = u16::try_from(decimal(bracketed.strip_prefix(b"[")?.strip_suffix(b"]")?)?).ok()?;
    Some(Prefix { style: task_style(left)?, cpu, event, text })
}

/// Tells how the task at the right end of `left` is written.
fn task_style(left: &[u8]) -> Option<TaskStyle> {
    let mut left = left.trim_ascii_end();
    if left.ends_with(b")") {
        // ftrace's record-tgid option: `comm-PID (TGID)`, the group right-aligned or dashes when unknown.
        let open = memchr::memrchr(b'(', left)?;
        left = left[..open].trim_ascii_end();
    }
    let (comm, id) = last_token(left);
    if id == b"-1" && comm.trim_ascii() == b":-1" {
        // How perf script writes a task that it does not know.
        return Some(TaskStyle::Space);
    }
    let mut ids = id.splitn(2, |&byte| byte == b'/');
    if ids.all(is_number) {
        return Some(TaskStyle::Space);
    }
    let dash = memchr::memrchr(b'-', left)?;
    is_number(&left[dash + 1..]).then_some(TaskStyle::Dash)
}

/// Splits off the last token, with the white space on its right dropped.
fn last_token(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_end();
    let start = text.iter().rposition(|byte| byte.is_ascii_whitespace()).map_or(0, |space| space + 1);
    text.split_at(start)
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Reads a decimal number, or returns `None` for anything else and on overflow.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<(TaskStyle, u16, String, String)> {
        split(line.as_bytes()).map(|prefix| {
            (
                prefix.style,
                prefix.cpu,
                String::from_utf8_lossy(prefix.event).into_owned(),
                String::from_utf8_lossy(prefix.text).trim().to_owned(),
            )
        })
    }

    fn assert_splits(line: &str, style: TaskStyle, cpu: u16) {
        assert_eq!(
            parts(line),
            Some((style, cpu, "mm_page_free".into(), "page=0 pfn=1 order=0".into())),
            "{line}"
        );
    }

    #[test]
    fn every_layout_is_split_into_the_same_parts() {
        for (line, style) in [
            ("   task-12 [003] .... 1.000002: mm_page_free: page=0 pfn=1 order=0", TaskStyle::Dash),
            ("   task-12 [003] d..2. 1.000002: mm_page_free: page=0 pfn=1 order=0", TaskStyle::Dash),
            (" task-12 (   12) [003] d..2. 1.000002: mm_page_free: page=0 pfn=1 order=0", TaskStyle::Dash),
            (" task-12 (-----) [003] .... 1.000002: mm_page_free: page=0 pfn=1 order=0", TaskStyle::Dash),
            ("   task-12    [003]  1.000002: mm_page_free:         page=0 pfn=1 order=0", TaskStyle::Dash),
            ("  task-12 [003] 775139366: mm_page_free: page=0 pfn=1 order=0", TaskStyle::Dash),
            ("task 12 [003] 1.000002: kmem:mm_page_free: page=0 pfn=1 order=0", TaskStyle::Space),
            ("task 12/14 [003] 1.000002123:   kmem:mm_page_free: page=0 pfn=1 order=0", TaskStyle::Space),
            (":-1 -1 [003] 1.000002: kmem:mm_page_free: page=0 pfn=1 order=0", TaskStyle::Space),
            ("task 12 [003] 1.000002:    1 kmem:mm_page_free: page=0 pfn=1 order=0", TaskStyle::Space),
        ] {
            assert_splits(line, style, 3);
        }
    }

    #[test]
    fn command_names_may_hold_anything() {
        for comm in
            ["a b", "a-b", "kworker/0:1-events", "x [001] 2", "a: b: ", "-", "<idle>", "Web Content-3", ""]
        {
            assert_splits(
                &format!(" {comm}-77 [012] ..... 5.6: mm_page_free: page=0 pfn=1 order=0"),
                TaskStyle::Dash,
                12,
            );
            if !comm.is_empty() {
                assert_splits(
                    &format!(" {comm} 77 [012] 5.6: kmem:mm_page_free: page=0 pfn=1 order=0"),
                    TaskStyle::Space,
                    12,
                );
            }
        }
    }

    #[test]
    fn an_event_whose_text_holds_colons_is_still_found() {
        let line = " a-1 [000] d... 5.6: sched_switch: prev_comm=x: y prev_pid=1 ==> next_comm=b";
        assert_eq!(
            parts(line).map(|(style, cpu, event, _)| (style, cpu, event)),
            Some((TaskStyle::Dash, 0, "sched_switch".into()))
        );
    }

    #[test]
    fn other_text_is_refused() {
        for line in [
            "",
            ":",
            "hello: world",
            "a-1 [000] x: y: z",
            "a-b [000] .... 1.2: e: t",
            "a-1 [0x0] 1.2: e: t",
            "[000] 1.2: e: t",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }
}
