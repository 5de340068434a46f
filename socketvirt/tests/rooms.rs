//! Imports go down, and never round. A room of this crate imports what is below
//! it, never what is above or beside it. In no crate do modules import each other,
//! directly or by others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// From the ground up. Rooms on one floor do not know each other.
const FLOORS: [&[&str]; 11] = [
    &["output", "thread", "host", "bpf"],
    &["kernel", "log", "program"],
    &["datapath"],
    &["policy"],
    &["watch"],
    &["table", "doctor"],
    &["bench", "traffic"],
    &["child", "session", "top", "map"],
    &["agent"],
    &["cli"],
    &["lib", "main"],
];

/// A path of names, as an import writes it, or of folders and files, as a module
/// is found.
type Names = Vec<String>;

/// The floor of a room.
fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("{room} is in no room: name it in FLOORS"))
}

/// The words and marks of source text, without its comments.
fn tokens(text: &str) -> Names {
    let mut all = Names::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or(line).trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            all.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
    }
    all
}

/// Reads a path, or a tree of paths, behind `before`. Returns the tokens behind
/// it.
fn tree<'a>(mut tokens: &'a [String], before: &[String], all: &mut Vec<Names>) -> &'a [String] {
    let mut path = before.to_vec();
    loop {
        match tokens.first().map(String::as_str) {
            Some("{") => {
                tokens = &tokens[1..];
                while tokens.first().is_some_and(|token| token != "}") {
                    tokens = tree(tokens, &path, all);
                    if tokens.first().is_some_and(|token| token == ",") {
                        tokens = &tokens[1..];
                    }
                }
                return tokens.get(1..).unwrap_or_default();
            }
            Some(name) => {
                path.push(name.to_owned());
                tokens = &tokens[1..];
            }
            None => return tokens,
        }
        if tokens.first().is_none_or(|token| token != "::") {
            break;
        }
        tokens = &tokens[1..];
    }
    all.push(path);
    // The name that is given instead.
    if tokens.first().is_some_and(|token| token == "as") {
        tokens = tokens.get(2..).unwrap_or_default();
    }
    tokens
}

/// The paths in `text` that begin at `crate`, `self` or `super`, in imports and
/// elsewhere.
fn paths(text: &str) -> Vec<Names> {
    let tokens = tokens(text);
    let mut all = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| &*tokens[at]);
        // `$crate` is a macro's, and `in crate::` a visibility.
        let begins = ["crate", "self", "super"].contains(&&**token)
            && tokens.get(at + 1).is_some_and(|next| next == "::")
            && !["$", "in", "::"].contains(&before);
        if begins {
            tree(&tokens[at..], &[], &mut all);
        }
    }
    all
}

/// The rooms whose names stand behind `crate::` in `text`.
fn imported(text: &str) -> BTreeSet<String> {
    let paths = paths(text).into_iter();
    paths
        .filter(|path| path[0] == "crate")
        .filter_map(|path| path.get(1).cloned())
        .collect()
}

/// The module that `path` names, or is in, when `from` writes it.
fn resolve(path: &[String], from: &[String], modules: &BTreeMap<Names, String>) -> Names {
    let mut at = match &*path[0] {
        "crate" => Names::new(),
        _ => from.to_vec(),
    };
    for name in path {
        match &**name {
            "crate" | "self" => {}
            "super" => {
                at.pop();
            }
            name => {
                at.push(name.to_owned());
                if !modules.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
        }
    }
    at
}

/// The imports between modules of one folder, each with those that lead back.
/// Modules within them count as they do. A module and its parts are one.
fn circles(modules: &BTreeMap<Names, String>) -> Vec<String> {
    let mut imports: BTreeMap<Names, BTreeSet<Names>> = BTreeMap::new();
    for (from, text) in modules {
        for path in paths(text) {
            let to = resolve(&path, from, modules);
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if shared < from.len().min(to.len()) {
                let importer = imports.entry(from[..=shared].to_vec()).or_default();
                importer.insert(to[..=shared].to_vec());
            }
        }
    }
    let mut found = Vec::new();
    for (from, all) in &imports {
        for to in all {
            let mut seen = BTreeSet::from([to]);
            let mut next = vec![to];
            while let Some(at) = next.pop() {
                next.extend(
                    imports
                        .get(at)
                        .into_iter()
                        .flatten()
                        .filter(|to| seen.insert(to)),
                );
            }
            if seen.contains(from) {
                found.push(format!("{} -> {}", from.join("::"), to.join("::")));
            }
        }
    }
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

/// The modules of a crate of the workspace, with their text.
fn modules(of: &str) -> BTreeMap<Names, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let src = workspace.join(of).join("src");
    let module = |file: PathBuf| {
        let path = file.strip_prefix(&src).unwrap().with_extension("");
        let mut names: Names = path
            .iter()
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        names.pop_if(|name| ["mod", "lib", "main"].contains(&&**name));
        (names, fs::read_to_string(&file).unwrap())
    };
    // A program of `bin` is a crate of its own.
    let files = sources(&src).into_iter();
    files
        .map(module)
        .filter(|(names, _)| names.first().is_none_or(|name| name != "bin"))
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
fn no_modules_import_each_other() {
    for (of, least) in [
        ("socketvirt", 100),
        ("socketvirt-common", 20),
        ("socketvirt-ebpf", 30),
        ("tests", 40),
        ("tests/support", 10),
        ("xtask", 15),
        ("xtask/compat", 5),
        ("xtask/soak", 5),
        ("xtask/vm", 5),
    ] {
        let modules = modules(of);
        assert!(modules.len() > least, "{of}: only {}", modules.len());
        let found = circles(&modules);
        assert!(found.is_empty(), "{of}:\n{}", found.join("\n"));
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::{a::{b, c}, d,\n    e::f, // crate::comment\n};\n\
                fn g(h: crate::i::J) { $crate::k!(); }\npub(in crate::l) fn m() {}";
    let found: Vec<String> = imported(text).into_iter().collect();
    assert_eq!(found, ["a", "d", "e", "i"]);
}

#[test]
fn circles_are_found_however_long() {
    let crate_of = |files: &[(&str, &str)]| -> BTreeMap<Names, String> {
        let names = |path: &str| path.split_terminator('/').map(str::to_owned).collect();
        let files = files.iter();
        files
            .map(|(path, text)| (names(path), (*text).to_owned()))
            .collect()
    };
    let straight = [
        ("", "mod a; mod b; mod c;"),
        (
            "a",
            "mod d; use crate::{b::{X as Y, Z}, c}; use self::d::E;",
        ),
        ("a/d", "use super::F; use super::super::c::{self, G};"),
        ("b", "use super::c;"),
        ("c", "pub struct G;"),
    ];
    assert_eq!(circles(&crate_of(&straight)), [""; 0]);
    let changed = |module: usize, text| {
        let mut files = straight;
        files[module].1 = text;
        circles(&crate_of(&files))
    };
    // Directly.
    assert_eq!(changed(4, "use crate::b::Z;"), ["b -> c", "c -> b"]);
    // By a part of another, in the middle of a function.
    let long = ["a -> b", "a -> c", "b -> c", "c -> a"];
    assert_eq!(changed(4, "fn f() { crate::a::d::E; }"), long);
}
