//! Every op of the crate is differentiated correctly, over generated inputs, in `f64`: a test for each
//! case, by its name. `cargo test --all-features --test gradients softmax` runs those of softmax,
//! `-- --nocapture` prints a table, and `DPQ_CASES` sets another number of inputs than 64.

use dpq::strategies::Case;
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

fn cases() -> impl Iterator<Item = Case> {
    [dpq::ops::cases(), dpq::embedding::cases(), dpq::pq::cases(), dpq::nn::cases()]
        .into_iter()
        .flatten()
}

/// Generated inputs of every case.
fn inputs() -> u32 {
    std::env::var("DPQ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let table = arguments.nocapture;
    let trial = |(i, case): (usize, Case)| {
        Trial::test(case.name(), move || {
            let outcome = cases().nth(i).expect("the same cases again").run(inputs());
            if table {
                println!("{outcome}");
            }
            outcome.failure.map_or(Ok(()), |failure| Err(Failed::from(failure)))
        })
    };
    let mut trials: Vec<Trial> = cases().enumerate().map(trial).collect();
    let names: BTreeSet<&str> = trials.iter().map(Trial::name).collect();
    assert_eq!(names.len(), trials.len(), "two cases have one name");
    trials.push(Trial::test("every op has a case", every_op_has_a_case));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_op_has_a_case() -> Result<(), Failed> {
    let differentiated: BTreeSet<&str> = cases().flat_map(|case| case.run(4).ops).collect();
    let declared = declared_ops(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(declared.len() > 20, "found only {declared:?} in the sources");
    let missing: Vec<_> =
        declared.iter().filter(|op| !differentiated.contains(op.as_str())).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not checked: {missing:?}").into()) }
}

/// Every X of an `Op<..> for X` in the sources.
fn declared_ops(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut declared_ops(&path));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // Examples in docs declare ops, too; theirs are not the crate's.
        for line in text.lines().filter(|line| line.starts_with("impl")) {
            if let Some((_, name)) = line.split_once("Op<T> for ") {
                found
                    .insert(name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_string());
            }
        }
    }
    found
}
