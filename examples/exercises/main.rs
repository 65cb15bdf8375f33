//! Eight exercises on the gradients of DPQ, each with its formula left out.
//!
//! Open `holes/ex1_values.rs`, put your formula in the place of `unsolved`, and grade it:
//!
//! ```sh
//! cargo test --example exercises -- ex1      # one of them: what was expected beside what was found
//! cargo run --example exercises              # which are solved
//! ```
//!
//! Solutions are in `solutions/`; `cargo run --example exercises -- --solutions` grades them instead.

mod case;
mod graded;
mod holes;
mod solutions;

use graded::EXERCISES;

fn main() {
    let solutions = std::env::args().any(|argument| argument == "--solutions");
    let answers = if solutions { solutions::ANSWERS } else { holes::ANSWERS };
    for exercise in &EXERCISES {
        let solved = (exercise.grade)(&answers).is_ok();
        println!("{:<24}{}", exercise.name, if solved { "solved" } else { "not yet" });
    }
}

#[cfg(test)]
mod tests {
    use crate::graded::EXERCISES;
    use crate::holes::ANSWERS;

    #[track_caller]
    fn grade(name: &str) {
        let exercise = EXERCISES.iter().find(|exercise| exercise.name.starts_with(name));
        let grade = exercise.expect("an exercise").grade;
        if let Err(beside) = grade(&ANSWERS) {
            panic!("not solved yet\n{beside}");
        }
    }

    #[test]
    fn ex1() {
        grade("ex1");
    }
    #[test]
    fn ex2() {
        grade("ex2");
    }
    #[test]
    fn ex3() {
        grade("ex3");
    }
    #[test]
    fn ex4() {
        grade("ex4");
    }
    #[test]
    fn ex5() {
        grade("ex5");
    }
    #[test]
    fn ex6() {
        grade("ex6");
    }
    #[test]
    fn ex7() {
        grade("ex7");
    }
    #[test]
    fn ex8() {
        grade("ex8");
    }
}
