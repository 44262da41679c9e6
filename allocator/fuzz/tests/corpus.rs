//! Goes through everything that fuzzing has found interesting so far.

use std::{fs, panic, path::Path};

use gfp_fuzz::TARGETS;

#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, check) in TARGETS {
        let files = fs::read_dir(corpus.join(name)).expect("each target has a folder");
        let mut count = 0;
        for file in files {
            let file = file.expect("the folder can be read").path();
            let bytes = fs::read(&file).expect("the file can be read");
            count += 1;
            if let Err(found) = panic::catch_unwind(|| check(&bytes)) {
                eprintln!("repeat: cargo run -p gfp-fuzz --bin {name} -- {}", file.display());
                panic::resume_unwind(found);
            }
        }
        assert!(count > 0, "the corpus of {name} is empty");
        println!("{name}: {count} files");
    }
}
