//! Each mistake in a policy gets one clear error: `policy/wrong/NAME.toml` and
//! `NAME.txt` beside it. `SOCKETVIRT_BLESS=1` writes the texts anew.

use std::{
    fs,
    path::{Path, PathBuf},
};

use socketvirt::policy::{Policy, compile::Compiled};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/policy")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// What an operator is told.
fn complaint(path: &Path, text: &str) -> String {
    let name = Path::new(path.file_name().unwrap());
    Policy::parse(name, text).map(drop).unwrap_err().to_string() + "\n"
}

#[test]
fn each_mistake_has_its_error() {
    let mut wrong = Vec::new();
    let files = files("wrong");
    assert!(files.len() > 25);
    for path in files {
        let told = complaint(&path, &fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("SOCKETVIRT_BLESS").is_some() {
            fs::write(&expected, &told).unwrap();
        }
        if fs::read_to_string(&expected).ok().as_deref() != Some(&told) {
            wrong.push(format!("{}:\n{told}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_right_compiles() {
    for path in files("right") {
        let (policy, _) = Policy::read(&path).unwrap_or_else(|error| panic!("{error}"));
        Compiled::new(&policy).unwrap();
    }
}

#[test]
fn one_rule_too_many() {
    let rule = |number| format!("[[rule]]\nname = \"r{number}\"\naction = \"off\"\n");
    let text: String = (0..4_096).map(rule).collect();
    let policy = Policy::parse(Path::new("full.toml"), &text).unwrap();
    assert_eq!(Compiled::new(&policy).unwrap().rules, 4_096);
    let told = complaint(Path::new("full.toml"), &(text + &rule(4_096)));
    assert!(
        told.contains("4097 rules, at most 4096 are possible"),
        "{told}"
    );
    assert!(told.contains("full.toml:12289:1"), "{told}");
}

#[test]
fn a_file_that_is_not_there() {
    let error = Policy::read(Path::new("/nowhere/policy.toml"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/policy.toml"), "{error}");
}
