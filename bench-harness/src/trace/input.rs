//! A trace's bytes: plain or gzip, told apart by content, read one line at a time.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::TraceError;

/// No line of a trace is as long as this, in bytes; what is longer is cut, so that a binary file needs no memory.
const MAX_LINE: u64 = 16 << 10;

/// The lines of a trace.
pub(super) struct LineReader<'a> {
    reader: Box<dyn BufRead + 'a>,
    line: Vec<u8>,
    gzip: bool,
}

impl<'a> LineReader<'a> {
    /// Looks at the first bytes of `source`, unpacks gzip, and refuses recordings that are not text.
    pub(super) fn new(source: impl Read + 'a) -> Result<Self, TraceError> {
        let mut reader: Box<dyn BufRead + 'a> = Box::new(BufReader::with_capacity(256 << 10, source));
        let gzip = reader.fill_buf().map_err(TraceError::Io)?.starts_with(b"\x1f\x8b");
        if gzip {
            reader = Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(reader)));
        }
        let start = reader.fill_buf().map_err(|error| TraceError::from_read(error, gzip))?;
        for (magic, advice) in [
            (&b"PERFILE2"[..], "this is perf.data; `perf script` prints it as text"),
            (b"\x17\x08\x44tracing", "this is trace.dat; `trace-cmd report` prints it as text"),
            (b"\x28\xb5\x2f\xfd", "this is packed with zstd; unpack it first"),
            (b"\xfd7zXZ", "this is packed with xz; unpack it first"),
        ] {
            if start.starts_with(magic) {
                return Err(TraceError::NotText(advice));
            }
        }
        Ok(Self { reader, line: Vec::new(), gzip })
    }

    /// Returns the next line, with its end, or `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TraceError> {
        self.line.clear();
        let gzip = self.gzip;
        let failed = |error| TraceError::from_read(error, gzip);
        let length = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line).map_err(failed)?;
        if length == 0 {
            return Ok(None);
        }
        if !self.line.ends_with(b"\n") {
            self.skip_line().map_err(failed)?;
        }
        Ok(Some(&self.line))
    }

    #[cold]
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let (length, found) = match memchr::memchr(b'\n', buffer) {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(length);
            if found {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<Vec<u8>>, TraceError> {
        let mut reader = LineReader::new(bytes)?;
        let mut lines = Vec::new();
        while let Some(line) = reader.next()? {
            lines.push(line.trim_ascii_end().to_vec());
        }
        Ok(lines)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_known_by_content_and_may_have_several_members() {
        let plain = lines(b"a\nbc\n").unwrap();
        assert_eq!(plain, [b"a".to_vec(), b"bc".to_vec()]);
        let packed: Vec<u8> = [gzip(b"a\nb"), gzip(b"c\n")].concat();
        assert_eq!(lines(&packed).unwrap(), plain);
    }

    #[test]
    fn a_truncated_gzip_file_is_an_error() {
        let packed = gzip(&b"line\n".repeat(100));
        let error = lines(&packed[..packed.len() - 12]).unwrap_err();
        assert!(error.to_string().contains("gzip"), "{error}");
    }

    #[test]
    fn recordings_that_are_not_text_are_named() {
        let error = lines(b"PERFILE2\0\0\0").unwrap_err();
        assert!(error.to_string().contains("perf script"), "{error}");
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_found() {
        let mut bytes = vec![b'x'; 300 << 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = lines(&bytes).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len() as u64, MAX_LINE);
        assert_eq!(lines[1], b"next");
    }
}
