//! The house is as its front page says: every file uses only what stands above it in the reading
//! order, and nothing is unsafe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All sources: path below src/ in parts ("dpq", "sx"), and the lines that are no comments.
fn sources() -> Vec<(Vec<String>, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let parts = |path: &Path| {
        let below = path.strip_prefix(&root).unwrap().with_extension("");
        below.iter().map(|part| part.to_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let lines = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.map(String::from).collect::<Vec<_>>()
    };
    files.iter().map(|path| (parts(path), lines(path))).collect()
}

/// The names that follow `prefix` in a line: of `use crate::a::b` a, of `super::{a::b, C}` a and C.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        let list = rest.strip_prefix('{').unwrap_or(rest);
        let items = if list.len() < rest.len() { list.split(", ").collect() } else { vec![list] };
        names.extend(
            items
                .iter()
                .map(|item| item.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()),
        );
    }
    names
}

/// The modules that `lib.rs` or a `mod.rs` declares, in order.
fn declared(lines: &[String]) -> Vec<String> {
    let name = |line: &String| {
        let rest = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        rest.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')).map(String::from)
    };
    lines.iter().filter_map(name).collect()
}

#[test]
fn the_front_page_lists_the_modules_in_the_order_in_which_they_are_declared() {
    let front =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let listed: Vec<String> = front
        .lines()
        .skip_while(|line| *line != "//! # Reading order")
        .take_while(|line| !line.starts_with("//! # A walk"))
        .filter_map(|line| {
            let entry = line.strip_prefix("//! ")?;
            let (number, entry) = entry.split_once(". ")?;
            number.parse::<usize>().ok()?;
            Some(entry.split('`').nth(1)?.trim_start_matches("mod@").to_string())
        })
        .collect();
    let files = sources();
    let (_, lib) = files.iter().find(|(path, _)| path[..] == ["lib"]).unwrap();
    assert_eq!(listed, declared(lib));
}

#[test]
fn every_file_uses_only_what_stands_above_it() {
    let files = sources();
    let (_, lib) = files.iter().find(|(path, _)| path[..] == ["lib"]).unwrap();
    let order = declared(lib);
    // Names that lib.rs re-exports, with the module that they come from.
    let mut homes: BTreeMap<String, String> =
        order.iter().map(|m| (m.clone(), m.clone())).collect();
    for line in lib.iter().filter_map(|line| line.strip_prefix("pub use ")) {
        let (module, names) = line.split_once("::").unwrap();
        for name in names.split(|c: char| !c.is_alphanumeric() && c != '_') {
            homes.entry(name.to_string()).or_insert(module.to_string());
        }
    }
    let place = |module: &str, order: &[String]| order.iter().position(|m| m == module);
    let mut upward = Vec::new();
    for (path, lines) in files.iter().filter(|(path, _)| path[..] != ["lib"]) {
        let own = place(&path[0], &order).unwrap_or_else(|| panic!("{path:?} is not declared"));
        let folder = files.iter().find(|(other, _)| other[..] == [path[0].clone(), "mod".into()]);
        let siblings = folder.map_or(Vec::new(), |(_, lines)| declared(lines));
        for line in lines {
            for name in names_after(line, "crate::") {
                let home = homes
                    .get(name)
                    .unwrap_or_else(|| panic!("{path:?}: where does {name} come from? {line}"));
                if place(home, &order).unwrap() > own {
                    upward.push(format!("{}: {line}", path.join("/")));
                }
            }
            if path.len() == 2 && path[1] != "mod" {
                let own = place(&path[1], &siblings).unwrap();
                for name in names_after(line, " super::") {
                    if place(name, &siblings).is_some_and(|other| other >= own) {
                        upward.push(format!("{}: {line}", path.join("/")));
                    }
                }
            }
        }
    }
    assert!(upward.is_empty(), "imports that point down the reading order:\n{}", upward.join("\n"));
}

#[test]
fn nothing_is_unsafe() {
    let files = sources();
    assert!(files.len() > 40, "found only {} sources", files.len());
    for (path, lines) in &files {
        let code = lines.iter().filter(|line| !line.contains("forbid(unsafe_code)"));
        assert!(code.into_iter().all(|line| !line.contains("unsafe")), "{path:?}");
    }
}

#[test]
fn every_promise_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promises");
    let mut files = Vec::new();
    source_files(&folder, &mut files);
    let names = files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_string());
    let mut names: Vec<String> = names.filter(|name| name != "main").collect();
    names.sort();
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    assert_eq!(declared(&main.lines().map(String::from).collect::<Vec<_>>()), names);
}
