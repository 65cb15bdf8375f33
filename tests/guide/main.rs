//! What is there to learn from is true: outputs on the guide's pages are those of the programs, pictures and the
//! page to play with show the crate's own numbers, and the exercises have solutions.

#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "other tests run programs that refuse")]
mod program;

mod pictures;
mod playground;

use program::{program, stdout};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What stands after the `$` of a block that shows an output.
const RUN: &str = "$ cargo run --example ";

#[test]
fn outputs_on_the_pages_are_those_of_the_programs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    let mut pages: Vec<_> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    pages.sort();
    let mut printed = BTreeMap::new();
    let mut shown = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|e| e == "rs")) {
        let text = fs::read_to_string(page).unwrap();
        let mut lines = text.lines().map(|line| line.strip_prefix("//! ").unwrap_or(""));
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix(RUN) else { continue };
            let output = printed
                .entry(name.to_string())
                .or_insert_with(|| stdout(&Command::new(program(name)).output().unwrap()));
            // The block's lines, in this order, with others left out between them.
            let mut rest = output.lines();
            for line in lines.by_ref().take_while(|line| *line != "```") {
                shown += 1;
                let place = page.display();
                assert!(
                    rest.any(|printed| printed == line),
                    "{place}: {name} does not print\n{line}"
                );
            }
        }
    }
    assert!(printed.len() >= 4 && shown >= 30, "{} programs, {shown} lines", printed.len());
}

#[test]
fn exercises_are_unsolved_and_their_solutions_right() {
    let grades = |arguments: &[&str]| {
        let output = Command::new(program("exercises")).args(arguments).output().unwrap();
        stdout(&output).lines().map(|line| line[24..].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(grades(&[]), ["not yet"; 8]);
    assert_eq!(grades(&["--solutions"]), ["solved"; 8]);
}
