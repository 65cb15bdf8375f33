//! Progress on the terminal, and what went wrong on the way.

pub use super::report::text::thousands;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};

/// Where progress goes: bars and lines to a terminal, lines alone to a file or pipe, or nothing.
pub struct Progress {
    lines: bool,
    bars: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        Progress { lines: !quiet, bars: !quiet && stderr().is_terminal() }
    }

    /// A line that stays.
    pub fn line(&self, line: &str) {
        if self.lines {
            tell(line);
        }
    }

    /// A bar of `steps` steps behind `title`; an invisible one where there are none.
    pub fn bar(&self, title: String, steps: usize) -> ProgressBar {
        if !self.bars {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template("{prefix}  {bar:16}  step {pos}/{len}  {msg}  {eta} left");
        let bar = ProgressBar::new(steps as u64).with_prefix(title);
        bar.with_style(style.expect("a template that indicatif understands"))
    }
}

/// A line on the terminal. If nobody takes it, that is no reason to stop.
pub fn tell(line: &str) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// What went wrong while training went on, each thing once.
#[derive(Default)]
pub struct Faults(pub Vec<String>);

impl Faults {
    /// The value, if there is one; the error is noted.
    pub fn note<T, E: ToString>(&mut self, outcome: Result<T, E>) -> Option<T> {
        outcome
            .map_err(|error| {
                let error = error.to_string();
                if !self.0.contains(&error) {
                    self.0.push(error);
                }
            })
            .ok()
    }
}
