//! Input that fuzzing has found, and what it began with.

use std::{fs, path::Path};

use socketvirt_tests::hostile;

/// The inputs in a folder of the corpus.
fn corpus(name: &str) -> impl Iterator<Item = Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(folder.join(name)).expect("the corpus");
    files.map(|file| fs::read(file.expect("an entry").path()).expect("an input"))
}

#[test]
fn policies() {
    let all: Vec<_> = corpus("policy").collect();
    assert!(all.len() > 3, "{} inputs", all.len());
    for input in all {
        hostile::policy(&input);
    }
}

#[test]
fn records() {
    let all: Vec<_> = corpus("records").collect();
    assert!(all.len() > 3, "{} inputs", all.len());
    for input in all {
        hostile::records(&input);
    }
}
