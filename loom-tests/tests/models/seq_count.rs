//! Records that are read while somebody writes them: what a reader takes is whole.

use gfp::sync::atomic::{AtomicU64, Ordering::Relaxed};
use gfp::sync::{Arc, SeededBug, SeqCount, thread};
use loom_tests::Model;

const TORN: &str = "a part of one record and a part of another";

pub(crate) const MODELS: &[Model] = &[Model {
    name: "record_and_its_readers",
    property: "a reader takes a whole record, and not an older one than it knows of",
    bound: "a writer of one record of two words, a reader that looks twice",
    preemptions: None,
    program: record_and_its_readers,
    bugs: &[
        (SeededBug::SeqWriterSkipsFence, TORN),
        (SeededBug::SeqWrittenRelaxed, TORN),
        (SeededBug::SeqReaderSkipsFence, TORN),
        (SeededBug::SeqReaderTakesOdd, TORN),
    ],
}];

struct Record {
    writes: SeqCount,
    words: [AtomicU64; 2],
}

impl Record {
    fn write(&self, value: u64) {
        self.writes.write(|| self.words.iter().for_each(|word| word.store(value, Relaxed)));
    }

    fn read(&self) -> Option<u64> {
        let [first, second] = self.writes.try_read(|| [0, 1].map(|word| self.words[word].load(Relaxed)))?;
        assert_eq!(first, second, "a part of one record and a part of another");
        Some(first)
    }
}

fn record_and_its_readers() {
    let words = [AtomicU64::new(0), AtomicU64::new(0)];
    let record = Arc::new(Record { writes: SeqCount::new(), words });
    let writer = thread::spawn({
        let record = Arc::clone(&record);
        move || record.write(1)
    });
    let seen = [record.read(), record.read()];
    if let [Some(before), Some(since)] = seen {
        assert!(before <= since, "the record went back");
    }
    writer.join().unwrap();
    assert_eq!(record.read(), Some(1), "nobody writes any more");
}
