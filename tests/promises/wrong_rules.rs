//! What a gradient checker is worth: every one of many planted mistakes is found, and no right rule is
//! accused. `cargo test --all-features --test promises wrong_rules -- --nocapture` prints the list.

#[path = "../planted/mod.rs"]
mod planted;

use dpq::gradcheck::Verdict;
use std::collections::BTreeSet;

#[test]
fn every_planted_mistake_is_found_and_no_right_rule_is_accused() {
    let rules = planted::rules();
    let (mut wrong, mut right) = (0, 0);
    for rule in &rules {
        let outputs = rule.forward(&rule.inputs).len();
        let gradients = rule.backward(&rule.inputs, &vec![1.0; outputs]);
        let lengths = |x: &Vec<f64>| x.len();
        let elements: Vec<usize> = rule.inputs.iter().map(|x| x.data().len()).collect();
        assert!(outputs > 0 && gradients.iter().map(lengths).eq(elements), "{}", rule.name);
        let report = rule.check();
        let verdict = report.verdict();
        println!("{:<56} {verdict:?}, error {:.1e}", rule.name, report.error());
        if rule.right {
            right += 1;
            let summed = rule.name == "sum of softmax" || rule.name == "mean of a layer norm";
            let expected = if summed { Verdict::NotObserved } else { Verdict::Agree };
            assert_eq!(verdict, expected, "{} is right: {report}", rule.name);
        } else {
            wrong += 1;
            assert_eq!(verdict, Verdict::Differ, "{} is wrong: {report}", rule.name);
        }
    }
    println!("{wrong} wrong rules, all found; {right} right ones, none accused");
    assert!(wrong >= 60 && right >= 60, "{wrong} wrong rules and {right} right ones");
    let names: BTreeSet<&str> = rules.iter().map(|rule| &rule.name[..]).collect();
    assert_eq!(names.len(), rules.len(), "two rules have one name");
}
