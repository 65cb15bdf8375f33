//! What a check found, and how it is printed.

use super::function::{Fault, Input};
use super::settings::Gradcheck;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;

/// The least share of all derivatives that must be observed.
pub const OBSERVED: f64 = 0.99;

/// Reports of at most this many input elements print the inputs.
const PRINTED: usize = 200;

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every derivative that was observed agrees, and at least 99% were.
    Agree,
    /// A derivative differs from the rule by more than its error bar and the tolerance.
    Differ,
    /// The function has a kink at the point: there is no derivative to compare.
    Kink,
    /// Too few derivatives rose above the rounding of the function, or a damaged rule was not found:
    /// a wrong rule could have passed.
    NotObserved,
    /// The closure computes something else each time, or changes its inputs.
    Unsteady,
    /// The closure could not be evaluated.
    Fault,
}

/// One compared derivative.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which input: its number, or the parameter's name.
    pub input: String,
    /// Which element of it; `None` for a random projection of the input.
    pub index: Option<Vec<usize>>,
    /// Which output, and which element of it; `None` for a projection.
    pub output: Option<(usize, Vec<usize>)>,
    /// What the backward rule says.
    pub analytic: f64,
    /// What differences of the forward pass say.
    pub numeric: f64,
    /// The error bar: how far the numeric side may be from the derivative.
    pub bar: f64,
    /// The step of the differences.
    pub step: f64,
    /// A step at which the function bends: a kink is likely no further away.
    pub bend: Option<f64>,
    /// |a - n| / (max(|a|, |n|, m) + bar / tolerance), with m the largest entry of the input's
    /// Jacobian: at most the tolerance exactly if a and n are at most bar + tolerance max(..) apart.
    pub error: f64,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the check was asked for.
    pub place: &'static Location<'static>,
    /// Why the closure could not be evaluated: nothing is compared then.
    pub fault: Option<Fault>,
    /// What the closure does that a function does not: nothing is compared then.
    pub unsteady: Option<&'static str>,
    /// The entry with the largest error, where anything was compared.
    pub worst: Option<Entry>,
    /// Coordinates at which the function has a kink, so that it has no derivative to compare.
    pub kinks: Vec<Entry>,
    /// The first derivative that was not observed.
    pub unobserved: Option<Entry>,
    /// The largest error allowed.
    pub tolerance: f64,
    /// How many derivatives, or projections of derivatives, were compared.
    pub compared: usize,
    /// How many of them were observed: their error bar is at most the tolerance times their size.
    pub observed: usize,
    /// How many of them are flat: nothing moves, to the bit, and the rule says exactly 0, for this input
    /// as a whole.
    pub flat: usize,
    /// How many of them differ.
    pub differing: usize,
    /// One sentence, if the wrong gradients follow a known pattern.
    pub cause: Option<String>,
    /// The damaged rules that were tried, and whether each was found, if the check asks for
    /// [controls](Gradcheck::control).
    pub controls: Vec<(&'static str, bool)>,
    /// The ops that were differentiated.
    pub ops: BTreeSet<&'static str>,
    settings: Gradcheck,
    /// The method that was called.
    call: &'static str,
    inputs: Vec<Input>,
}

impl Report {
    pub(super) fn new(
        place: &'static Location<'static>,
        settings: Gradcheck,
        call: &'static str,
        inputs: &[Input],
    ) -> Report {
        Report {
            place,
            fault: None,
            unsteady: None,
            worst: None,
            kinks: Vec::new(),
            unobserved: None,
            tolerance: settings.tolerance,
            compared: 0,
            observed: 0,
            differing: 0,
            cause: None,
            controls: Vec::new(),
            ops: BTreeSet::new(),
            flat: 0,
            settings,
            call,
            inputs: inputs.to_vec(),
        }
    }

    /// The largest error, 0 where nothing was compared.
    pub fn error(&self) -> f64 {
        self.worst.as_ref().map_or(0.0, |entry| entry.error)
    }

    /// The share of the compared derivatives that was observed. Flat ones count if any other was: a
    /// function that nothing moves has not been seen to depend on its inputs at all.
    pub fn observed_share(&self) -> f64 {
        let flat = if self.observed > 0 { self.flat } else { 0 };
        (self.observed + flat) as f64 / self.compared.max(1) as f64
    }

    /// What the check comes to.
    pub fn verdict(&self) -> Verdict {
        let blind = self.controls.iter().any(|(_, found)| !found);
        if self.fault.is_some() {
            Verdict::Fault
        } else if self.unsteady.is_some() {
            Verdict::Unsteady
        } else if self.differing > 0 {
            Verdict::Differ
        } else if !self.kinks.is_empty() {
            Verdict::Kink
        } else if self.observed_share() < OBSERVED || blind {
            Verdict::NotObserved
        } else {
            Verdict::Agree
        }
    }

    /// The verdict is [`Agree`](Verdict::Agree).
    pub fn is_ok(&self) -> bool {
        self.verdict() == Verdict::Agree
    }

    /// The report itself if [`is_ok`](Report::is_ok), as an error otherwise: for `?` in a test that
    /// returns a result.
    ///
    /// # Errors
    /// The report, which prints itself.
    pub fn ok(self) -> Result<Report, Box<Report>> {
        if self.is_ok() { Ok(self) } else { Err(Box::new(self)) }
    }

    /// Panics with the report unless [`is_ok`](Report::is_ok); returns it otherwise.
    #[track_caller]
    pub fn assert_ok(self) -> Self {
        assert!(self.is_ok(), "{self}");
        self
    }

    /// Rust code that makes the inputs of this check and asks for it again; the closure is yours.
    pub fn program(&self) -> String {
        let mut lines = Vec::new();
        for (i, input) in self.inputs.iter().enumerate() {
            let (shape, data) = (input.value.shape(), input.value.data());
            let tensor = format!("Tensor::new({:?}, vec!{data:?})?", &shape[..]);
            lines.push(format!("let x{i} = {tensor}; // {}", input.name));
        }
        let names: Vec<String> = (0..self.inputs.len()).map(|i| format!("x{i}")).collect();
        let names = names.join(", ");
        let given = match self.call {
            "run_params" => format!("&params /* with {names} */"),
            _ => format!("[{names}]"),
        };
        let Gradcheck { tolerance, seed, step, rounding, control } = self.settings;
        lines.push(format!(
            "let check = Gradcheck {{ tolerance: {tolerance:e}, seed: {seed}, step: {step:e}, \
             rounding: {rounding:e}, control: {control} }};\n\
             check.{}({given}, /* the closure at {} */).assert_ok();",
            self.call, self.place
        ));
        lines.join("\n")
    }

    pub(super) fn note(&mut self, entry: Entry, kink: bool, observed: bool, flat: bool) {
        self.compared += 1;
        self.flat += usize::from(flat);
        if kink {
            self.kinks.push(entry);
            return;
        }
        self.observed += usize::from(observed && !flat);
        self.differing += usize::from(entry.error > self.tolerance);
        if !observed && !flat && self.unobserved.is_none() {
            self.unobserved = Some(entry.clone());
        }
        if self.worst.as_ref().is_none_or(|worst| entry.error > worst.error) {
            self.worst = Some(entry);
        }
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.index, &self.output) {
            (Some(index), Some((number, output))) => {
                let number = if *number == 0 { String::new() } else { number.to_string() };
                write!(f, "d output{number}{output:?} / d {}{index:?}", self.input)?
            }
            _ => write!(f, "random projection of {}", self.input)?,
        }
        write!(
            f,
            ": rule (analytic) {:.9e}, differences (numeric) {:.9e} +- {:.0e} at step {:.1e}, \
             error {:.2e}",
            self.analytic, self.numeric, self.bar, self.step, self.error
        )?;
        match self.bend {
            Some(bend) => write!(f, "; it bends within {bend:.1e} of the point"),
            None => Ok(()),
        }
    }
}

impl Report {
    /// What the verdict means here, in a sentence or two.
    fn explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict() {
            Verdict::Fault => {
                let fault = self.fault.as_ref().expect("the verdict is a fault");
                write!(f, "the pass failed: {fault}")
            }
            Verdict::Unsteady => {
                let what = self.unsteady.expect("the verdict is unsteady");
                write!(f, "the closure is not a function: {what}")
            }
            Verdict::Agree => f.write_str("gradients agree"),
            Verdict::Differ => {
                write!(f, "gradients DIFFER: {} of {}", self.differing, self.compared)?;
                match &self.cause {
                    Some(cause) => write!(f, "; {cause}"),
                    None => Ok(()),
                }
            }
            Verdict::Kink => write!(
                f,
                "not differentiable here, {} times, first at {}",
                self.kinks.len(),
                self.kinks[0]
            ),
            Verdict::NotObserved if self.compared == 0 => {
                f.write_str("NOT OBSERVED: there was nothing to compare")
            }
            Verdict::NotObserved if self.flat == self.compared => f.write_str(
                "NOT OBSERVED: the output does not move at all, so nothing is known of its \
                 gradients. Does the closure use what it is given?",
            ),
            Verdict::NotObserved if self.observed_share() < OBSERVED => {
                write!(
                    f,
                    "NOT OBSERVED: only {:.1}% of the derivatives rise above the rounding of the \
                     function. A sum of softmax, or a bias before a normalisation, has none: return \
                     all elements, or weight them, as (y * w).sum() with random w. First at {}",
                    100.0 * self.observed_share(),
                    self.unobserved.as_ref().expect("some were not observed"),
                )
            }
            Verdict::NotObserved => {
                let missed: Vec<_> = self
                    .controls
                    .iter()
                    .filter(|(_, found)| !found)
                    .map(|(name, _)| *name)
                    .collect();
                write!(f, "NOT OBSERVED: a damaged rule passes, too: {}", missed.join(", "))
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.explain(f)?;
        if self.compared > 0 {
            write!(
                f,
                "; {} compared, {:.1}% observed, tolerance {:.0e}",
                self.compared,
                100.0 * self.observed_share(),
                self.tolerance
            )?;
            if let Some(worst) = &self.worst {
                write!(f, ", worst {worst}")?;
            }
        }
        let elements: usize = self.inputs.iter().map(|input| input.value.data().len()).sum();
        if !self.is_ok() && elements <= PRINTED {
            write!(f, "\nchecked at {}; to see it again:\n{}", self.place, self.program())?;
        }
        Ok(())
    }
}
