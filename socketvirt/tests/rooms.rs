//! The rooms of this crate: a room imports what is below it, never what is above
//! or beside it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// From the ground up. Rooms on one floor do not know each other.
const FLOORS: [&[&str]; 9] = [
    &["output", "host", "bpf"],
    &["kernel", "program"],
    &["datapath"],
    &["watch"],
    &["table", "doctor"],
    &["bench"],
    &["child", "session"],
    &["cli"],
    &["lib", "main"],
];

/// The floor of a room.
fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("{room} is in no room: name it in FLOORS"))
}

/// The rooms whose names stand behind `crate::` in `text`.
fn imported(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect();
    let mut rooms = BTreeSet::new();
    for (at, root) in code.match_indices("crate::") {
        // `$crate` is a macro's, and `in crate::` a visibility.
        if code[..at].ends_with('$') || code[..at].ends_with("in ") {
            continue;
        }
        rooms.extend(names(&code[at + root.len()..]));
    }
    rooms
}

/// The first names of a path or of a tree of paths.
fn names(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_word).collect()
    };
    let Some(tree) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let mut found = vec![word(tree)];
    let mut depth = 1;
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => found.push(word(&tree[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// All source files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                sources(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect()
}

#[test]
fn no_room_imports_one_above_or_beside_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let files = sources(&src);
    assert!(files.len() > 100, "only {} files in {src:?}", files.len());
    for file in files {
        let path = file.strip_prefix(&src).unwrap();
        let first = path.iter().next().unwrap().to_str().unwrap();
        let room = first.trim_end_matches(".rs");
        for other in imported(&fs::read_to_string(&file).unwrap()) {
            // The macro that `output` exports.
            let other = if other == "tell" { "output" } else { &*other };
            if other != room && floor(other) >= floor(room) {
                wrong.push(format!("{} imports {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::{a::{b, c}, d,\n    e::f, // crate::comment\n};\n\
                fn g(h: crate::i::J) { $crate::k!(); }\npub(in crate::l) fn m() {}";
    let found: Vec<String> = imported(text).into_iter().collect();
    assert_eq!(found, ["a", "d", "e", "i"]);
}
