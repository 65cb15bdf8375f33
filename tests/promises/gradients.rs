//! Every op of the crate is differentiated correctly, over generated inputs, in `f64`.
#![cfg(feature = "proptest")]

use std::collections::BTreeSet;
use std::path::Path;

/// Generated inputs a case: `DPQ_CASES` sets another number.
fn cases_each() -> u32 {
    std::env::var("DPQ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

#[test]
fn every_op_agrees_with_finite_differences() {
    let mut differentiated = BTreeSet::new();
    println!("{:<36} {:>6} {:>12} {:>10}", "case", "inputs", "worst error", "time");
    for case in [dpq::ops::cases(), dpq::pq::cases(), dpq::nn::cases()].into_iter().flatten() {
        let outcome = case.run(cases_each());
        println!("{outcome}");
        outcome.assert_ok();
        differentiated.extend(outcome.ops);
    }
    let declared = declared_ops(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path());
    let missing: Vec<_> =
        declared.iter().filter(|op| !differentiated.contains(op.as_str())).collect();
    assert!(missing.is_empty(), "these ops have no gradient check: {missing:?}");
    assert!(declared.len() > 20, "found only {declared:?} in the sources");
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
