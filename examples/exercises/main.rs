//! Eight exercises on the gradients of DPQ, each with its formula left out.
//!
//! Open `holes/ex1_values.rs`, put your answer in the place of `unsolved`, and grade it:
//!
//! ```sh
//! cargo test --example exercises -- ex1
//! ```
//!
//! A wrong answer is shown beside what was expected, on three tokens. Try before you look at the page of the guide
//! that an exercise names; `eprintln!` in your code shows up in what the test prints. `cargo run --example
//! exercises` lists which are solved. Solutions are in `solutions/`, and `-- --solutions` grades those instead.

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
    use std::fmt;

    /// Expected beside found, printed as it is.
    struct NotYet(String);

    impl fmt::Debug for NotYet {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    fn grade(number: usize) -> Result<(), NotYet> {
        let exercise = &EXERCISES[number - 1];
        (exercise.grade)(&ANSWERS).map_err(|beside| {
            let name = exercise.name;
            NotYet(format!("not solved yet: examples/exercises/holes/{name}.rs\n\n{beside}"))
        })
    }

    #[test]
    fn ex1() -> Result<(), NotYet> {
        grade(1)
    }

    #[test]
    fn ex2() -> Result<(), NotYet> {
        grade(2)
    }

    #[test]
    fn ex3() -> Result<(), NotYet> {
        grade(3)
    }

    #[test]
    fn ex4() -> Result<(), NotYet> {
        grade(4)
    }

    #[test]
    fn ex5() -> Result<(), NotYet> {
        grade(5)
    }

    #[test]
    fn ex6() -> Result<(), NotYet> {
        grade(6)
    }

    #[test]
    fn ex7() -> Result<(), NotYet> {
        grade(7)
    }

    #[test]
    fn ex8() -> Result<(), NotYet> {
        grade(8)
    }
}
