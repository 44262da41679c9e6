//! A file of records, one JSON object a line.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::environment::Environment;

/// A file of records; or none, when nobody asked for one.
#[derive(Debug, Default)]
pub struct JsonLines {
    file: Option<(PathBuf, File)>,
}

impl JsonLines {
    /// Creates the file, replacing an old one, and writes the environment as its first line, which is read only if there is a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be created or written; the message names it.
    pub fn create(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut lines = Self { file: Some((path.to_owned(), file)) };
        lines.write(&Environment::read().record())?;
        Ok(lines)
    }

    /// Opens the file to append to it, makes it where there is none, and writes `head` before what is to come. A last line that
    /// was cut off is removed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, created or written; the message names it.
    pub fn append(path: &Path, head: &Value) -> Result<Self> {
        let cannot = || format!("cannot append to {}", path.display());
        let whole = match fs::read(path) {
            Ok(bytes) => bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(cannot),
        };
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(cannot)?;
        file.set_len(whole as u64).with_context(cannot)?;
        let mut lines = Self { file: Some((path.to_owned(), file)) };
        lines.write(head)?;
        Ok(lines)
    }

    /// Writes a record. It is in the file when this returns, whatever happens to the process later.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; the message names it.
    pub fn write(&mut self, record: &Value) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let line = format!("{record}\n");
        file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_environment_comes_first_and_each_record_is_a_line() {
        let path = std::env::temp_dir().join(format!("json-lines-{}.jsonl", std::process::id()));
        let mut lines = JsonLines::create(Some(&path)).unwrap();
        lines.write(&json!({"kind": "bench", "text": "two\nlines"})).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(text.starts_with("{\"kind\":\"environment\","), "{text}");
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1]["text"], "two\nlines");
    }

    #[test]
    fn an_error_names_the_file() {
        let path = Path::new("/nowhere/at/all.jsonl");
        let error = JsonLines::create(Some(path)).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all.jsonl"), "{error:#}");
    }

    #[test]
    fn without_a_file_records_are_dropped() {
        JsonLines::create(None).unwrap().write(&json!({})).unwrap();
    }
}
