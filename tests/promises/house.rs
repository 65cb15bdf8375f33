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

/// A file of the sources.
struct Source {
    /// Path below src/ in parts, `pq`, `sx`, `forward`; of a folder's front page the last is `mod`.
    path: Vec<String>,
    /// What is no comment, a statement of imports in one line.
    code: Vec<String>,
    /// The same of the file's tests.
    tests: Vec<String>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let source = |file: &PathBuf| {
        let below = file.strip_prefix(&root).unwrap().with_extension("");
        let path = below.iter().map(|part| part.to_str().unwrap().to_string()).collect();
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let of_tests = lines.iter().position(|line| *line == "mod tests {").unwrap_or(lines.len());
        let (code, tests) = lines.split_at(of_tests);
        Source { path, code: imports_joined(code), tests: imports_joined(tests) }
    };
    files.iter().map(source).collect()
}

/// The lines, with every `use` statement in one.
fn imports_joined(lines: &[&str]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        match joined.last_mut() {
            Some(last) if open => *last += line.trim(),
            _ => joined.push(line.to_string()),
        }
        let last = joined.last().expect("one was pushed");
        open = (last.contains("use ") && last.contains('{') || open) && !last.ends_with(';');
    }
    joined
}

/// The paths that follow `prefix` in a line, their parts: of `use crate::a::b` a, b, of
/// `super::{a::b, C}` a, b and C.
fn paths_after(line: &str, prefix: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let whole_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
        let rest = &line[at + prefix.len()..];
        let items: Vec<&str> = match rest.strip_prefix('{') {
            // Lists within a list follow a path whose first parts decide.
            Some(list) => list.split(',').collect(),
            None => vec![rest],
        };
        for item in items.into_iter().filter(|_| whole_word) {
            let end = item.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
            let parts = item[..end.unwrap_or(item.len())].trim().split("::");
            found.push(parts.map(String::from).filter(|part| !part.is_empty()).collect());
        }
    }
    found.retain(|path: &Vec<String>| !path.is_empty());
    found
}

/// The modules that `lib.rs` or a `mod.rs` declares, in order.
fn declared(lines: &[String]) -> Vec<String> {
    let name = |line: &String| {
        let rest = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        rest.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')).map(String::from)
    };
    lines.iter().filter_map(name).collect()
}

/// The modules in reading order, by the path of the folder (of the root, none).
fn reading_order(files: &[Source]) -> BTreeMap<Vec<String>, Vec<String>> {
    let fronts = files.iter().filter(|file| file.path[..] == ["lib"] || file.is_front_page());
    fronts.map(|file| (file.folder(), declared(&file.code))).collect()
}

impl Source {
    fn is_front_page(&self) -> bool {
        self.path.last().is_some_and(|name| name == "mod")
    }

    /// The folder that the file is in; of a front page the folder that it is of.
    fn folder(&self) -> Vec<String> {
        self.path[..self.path.len() - 1].to_vec()
    }
}

/// Where a path stands in the reading order: the place among its siblings at every level. What is no
/// module stands with the front page of its folder, after all files in it.
fn place(path: &[String], order: &BTreeMap<Vec<String>, Vec<String>>) -> Vec<usize> {
    let mut places = Vec::new();
    for depth in 0..path.len() {
        let Some(siblings) = order.get(&path[..depth]) else { break };
        match siblings.iter().position(|name| *name == path[depth]) {
            Some(at) => places.push(at),
            None => return [places, vec![usize::MAX]].concat(),
        }
    }
    if order.contains_key(path) {
        places.push(usize::MAX);
    }
    places
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
    assert_eq!(listed, reading_order(&sources())[&vec![]]);
}

#[test]
fn every_file_uses_only_what_stands_above_it() {
    let files = sources();
    let order = reading_order(&files);
    let lib = files.iter().find(|file| file.path[..] == ["lib"]).unwrap();
    // Names that lib.rs re-exports, with the module that they come from.
    let mut homes: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lib.code.iter().filter_map(|line| line.strip_prefix("pub use ")) {
        let (module, names) = line.split_once("::").unwrap();
        for name in names.split(|c: char| !c.is_alphanumeric() && c != '_') {
            homes.entry(name).or_insert(module);
        }
    }
    let from_root = |mut path: Vec<String>| {
        if let Some(home) = homes.get(path[0].as_str()) {
            path.insert(0, home.to_string());
        }
        path
    };
    let mut upward = Vec::new();
    let mut checked = 0;
    for file in files.iter().filter(|file| file.path[..] != ["lib"]) {
        let own = place(&file.path, &order);
        let mut check = |line: &str, target: Vec<String>, levels: usize| {
            let target = place(&target, &order);
            checked += 1;
            if target[..levels.min(target.len())] > own[..levels.min(own.len())] {
                upward.push(format!("{}: {line}", file.path.join("/")));
            }
        };
        for line in &file.code {
            for path in paths_after(line, "crate::") {
                check(line, from_root(path), usize::MAX);
            }
            // What a front page passes on is its children's; `super::*` is of a module in this file.
            let above = file.folder();
            let above = if file.is_front_page() { &above[..above.len() - 1] } else { &above[..] };
            for path in paths_after(line, "super::").into_iter().filter(|path| path[0] != "super") {
                check(line, [above.to_vec(), path].concat(), usize::MAX);
            }
        }
        // Tests may use all of their own folder.
        for line in &file.tests {
            for path in paths_after(line, "crate::") {
                check(line, from_root(path), 1);
            }
        }
    }
    assert!(upward.is_empty(), "imports that point down the reading order:\n{}", upward.join("\n"));
    assert!(checked > 400, "found only {checked} imports");
}

#[test]
fn nothing_is_unsafe() {
    let files = sources();
    assert!(files.len() > 40, "found only {} sources", files.len());
    for file in &files {
        let lines = file.code.iter().chain(&file.tests);
        let mut code = lines.filter(|line| !line.contains("forbid(unsafe_code)"));
        assert!(code.all(|line| !line.contains("unsafe")), "{:?}", file.path);
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

/// Everything at once, as a program that explores would.
mod everything {
    use dpq::*;

    #[test]
    fn all_names_can_be_imported_at_once() {
        assert_eq!(Tensor::from([1.0_f32]).data(), [1.0]);
    }
}

#[test]
fn what_threads_can_share_is_send_and_sync() {
    fn shared<S: Send + Sync>() {}
    shared::<dpq::Tensor<f32>>();
    shared::<dpq::VarGrads<f32>>();
    shared::<dpq::FullEmbedding>();
    shared::<dpq::DpqEmbedding>();
    shared::<dpq::pq::FixedCodes>();
    shared::<dpq::embedding::LowRank>();
    shared::<dpq::embedding::ScalarTable>();
    shared::<dpq::pq::KMeans>();
    shared::<dpq::CodeTable>();
    shared::<dpq::pq::Usage>();
    shared::<dpq::pq::CodebookWatch>();
    shared::<dpq::CompactEmbedding<f64>>();
    shared::<dpq::nn::Linear>();
    shared::<dpq::nn::Lstm>();
    shared::<dpq::optim::Sgd<f32>>();
    shared::<dpq::data::Corpus>();
    shared::<dpq::data::Batches>();
    shared::<dpq::Error>();
    shared::<dpq::Gradcheck>();
    shared::<dpq::Params<f32>>();
    shared::<dpq::Grads<f32>>();
    shared::<Box<dyn dpq::Embedding<f32>>>();
    shared::<dpq::CompactEmbedding<f32>>();
    shared::<dpq::nn::LanguageModel<f32>>();
    shared::<dpq::nn::LstmState<f32>>();
    shared::<dpq::optim::Adam<f32>>();
}
