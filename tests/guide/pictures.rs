//! The pictures of the guide are what their program draws, to the byte.

use crate::program::{program, stdout};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::tempdir;

/// Where the guide has its pictures.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/pictures")
}

/// The files of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        (name, fs::read_to_string(path).unwrap())
    };
    fs::read_dir(folder).unwrap().map(file).collect()
}

#[test]
fn pictures_are_what_their_program_draws() {
    let folder = tempdir().unwrap();
    let printed = stdout(&Command::new(program("pictures")).arg(folder.path()).output().unwrap());
    let (drawn, kept) = (files(folder.path()), files(&kept()));
    assert_eq!(drawn.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    assert_eq!(printed.lines().count(), drawn.len());
    for (name, picture) in drawn {
        assert!(picture == kept[&name], "{name} has changed: cargo run --example pictures");
    }
}

#[test]
fn markdown_takes_a_picture_for_html_as_it_is() {
    for (name, picture) in files(&kept()) {
        let id = name.trim_end_matches(".svg");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{name}");
        assert!(picture.lines().all(|line| line.starts_with(['<', '.', '@', '['])), "{name}");
        assert!(picture.contains(&format!("aria-labelledby=\"{id}-title {id}-desc\"")), "{name}");
    }
}

#[test]
fn every_picture_stands_on_a_page_of_the_guide() {
    let pages = files_of_the_guide();
    for name in files(&kept()).keys() {
        let included = format!("#![doc = include_str!(\"pictures/{name}\")]");
        assert_eq!(pages.matches(&included).count(), 1, "{name}");
    }
}

/// The pages of the guide, one after the other.
fn files_of_the_guide() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.is_file());
    pages.map(|page| fs::read_to_string(page).unwrap()).collect()
}
