//! What a check found, and how it is printed.

use crate::error::Error;
use std::collections::BTreeSet;
use std::fmt;

/// One compared derivative.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which input: its number, or the parameter's name.
    pub input: String,
    /// Which element of it; `None` for a random projection over all inputs.
    pub index: Option<Vec<usize>>,
    /// Which element of the output; `None` for a projection.
    pub output: Option<Vec<usize>>,
    /// What the backward rule says.
    pub analytic: f64,
    /// What differences of the forward pass say.
    pub numeric: f64,
    /// How far apart they are, by the module's measure.
    pub error: f64,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The error that the tape was told at the base point or beside it: nothing is compared then.
    pub fault: Option<Error>,
    /// The entry with the largest error, where anything was compared.
    pub worst: Option<Entry>,
    /// Coordinates at which the function has a kink, so that it has no derivative to compare.
    pub kinks: Vec<Entry>,
    /// The largest error allowed.
    pub tolerance: f64,
    /// How many entries or projections were compared.
    pub compared: usize,
    /// Whether a second backward pass gave the same bits.
    pub repeatable: bool,
    /// The ops that were differentiated.
    pub ops: BTreeSet<&'static str>,
}

impl Report {
    /// The largest error, 0 where nothing was compared.
    pub fn error(&self) -> f64 {
        self.worst.as_ref().map_or(0.0, |entry| entry.error)
    }

    pub(super) fn note(&mut self, entry: Entry) {
        if self.worst.as_ref().is_none_or(|worst| entry.error > worst.error) {
            self.worst = Some(entry);
        }
    }

    /// Every derivative agrees, there is no kink, the pass can be repeated, and no op reported an
    /// error.
    pub fn is_ok(&self) -> bool {
        let agree = self.error() <= self.tolerance;
        agree && self.kinks.is_empty() && self.repeatable && self.fault.is_none()
    }

    /// Panics with the report unless [`is_ok`](Report::is_ok); returns it otherwise.
    #[track_caller]
    pub fn assert_ok(self) -> Self {
        assert!(self.is_ok(), "{self}");
        self
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.index, &self.output) {
            (Some(index), Some(output)) => {
                write!(f, "d output{output:?} / d {}{index:?}", self.input)?
            }
            _ => f.write_str("random projection over all inputs")?,
        }
        write!(
            f,
            ": analytic {:.9e}, numeric {:.9e}, error {:.2e}",
            self.analytic, self.numeric, self.error
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fault) = &self.fault {
            return write!(f, "the pass failed: {fault}");
        }
        if let Some(kink) = self.kinks.first() {
            writeln!(f, "not differentiable here, {} times, first at {kink}", self.kinks.len())?;
        }
        if !self.repeatable {
            writeln!(f, "a second backward pass gave other bits than the first")?;
        }
        let verdict = if self.error() <= self.tolerance { "agree" } else { "DIFFER" };
        write!(
            f,
            "gradients {verdict}: {} compared, tolerance {:.0e}",
            self.compared, self.tolerance
        )?;
        match &self.worst {
            Some(worst) => write!(f, ", worst {worst}"),
            None => Ok(()),
        }
    }
}
