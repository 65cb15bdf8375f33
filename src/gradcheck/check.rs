//! The comparison itself: what a rule says beside what differences say.

use super::cause::Jacobians;
use super::control::{Damage, Damaged};
use super::differences::{Differences, Direction, Estimate, Readout, largest, scale};
use super::function::{ENTRIES, Fault, PulledBack, Rule, unravel};
use super::report::{Entry, Report};
use super::settings::Gradcheck;
use crate::rng;
use crate::tensor::Tensor;
use rand::Rng;
use std::panic::Location;

/// Random projections of larger ones, shared by all inputs, and at least of every input.
const PROJECTIONS: [usize; 2] = [12, 3];

impl Gradcheck {
    /// Checks a rule for the method of this name.
    #[track_caller]
    pub(super) fn check(&self, call: &'static str, rule: &mut dyn Rule) -> Report {
        let place = Location::caller();
        self.validate();
        let mut report = Report::new(place, *self, call, rule.inputs());
        report.fault = self.compare(rule, &mut report).err();
        if self.control && report.is_ok() {
            for damage in Damage::ALL {
                let mut control = Report::new(place, *self, call, rule.inputs());
                let mut damaged = Damaged::new(rule, damage, self.tolerance);
                let fault = self.compare(&mut damaged, &mut control).err();
                if damaged.applies() {
                    report.controls.push((damage.name(), fault.is_none() && control.differing > 0));
                }
            }
        }
        report
    }

    fn compare(&self, rule: &mut dyn Rule, report: &mut Report) -> Result<(), Fault> {
        let base: Vec<_> = rule.inputs().iter().map(|input| input.value.clone()).collect();
        let elements: usize = base.iter().map(|x| x.data().len()).sum();
        let entrywise = |outputs: usize| outputs * elements <= ENTRIES;
        let projections = (PROJECTIONS[0] / base.len().max(1)).max(PROJECTIONS[1]);
        // The first two are the same: the rule must give the same bits.
        let cotangents = |outputs: usize| -> Vec<Vec<f64>> {
            let random = |k| self.random(outputs, "cotangent", k as u64);
            let unit = |k| (0..outputs).map(|i| f64::from(u8::from(i == k))).collect();
            let twice = [random(0), random(0)].into_iter();
            if entrywise(outputs) {
                twice.chain((0..outputs).map(unit)).collect()
            } else {
                twice.chain((1..=projections).map(random)).collect()
            }
        };
        let PulledBack { outputs, mut gradients, ops } = rule.pull_back(&cotangents)?;
        report.ops = ops;
        let repeated: Vec<_> = gradients.drain(..2).collect();
        if !same_bits(&repeated[0], &repeated[1]) {
            report.unsteady = Some("the rule gave other gradients the second time");
        }
        let [first, second] = [rule.values(&base)?, rule.values(&base)?];
        let close = |(a, b): (&f64, &f64)| {
            a.to_bits() == b.to_bits() || (a - b).abs() <= 1e3 * self.rounding * scale(&outputs)
        };
        if first.iter().zip(&second).any(|(a, b)| a.to_bits() != b.to_bits()) {
            report.unsteady = Some("the function gave another value the second time");
        } else if first.len() != outputs.len() || !first.iter().zip(&outputs).all(close) {
            report.unsteady =
                Some("the pass that was differentiated has another value than the function");
        }
        if report.unsteady.is_some() {
            return Ok(());
        }
        let positions: Vec<_> = (0..outputs.len()).map(|k| rule.position(k)).collect();
        let names: Vec<_> = rule.inputs().iter().map(|input| input.name.clone()).collect();
        let mut differences = Differences::new(rule, self.step, self.rounding)?;
        for (input, (name, x)) in names.iter().zip(&base).enumerate() {
            let rows: Vec<&Tensor<f64>> = gradients.iter().map(|of| &of[input]).collect();
            if entrywise(outputs.len()) {
                let at = Place { input, name, shape: &x.shape() };
                self.check_entries(&mut differences, at, &rows, &positions, report)?;
            } else {
                let cotangents = cotangents(outputs.len());
                for (k, (row, u)) in rows.iter().zip(&cotangents[2..]).enumerate() {
                    self.check_projection(&mut differences, input, name, row, (k, u), report)?;
                }
            }
        }
        Ok(())
    }

    /// Every entry of one input's Jacobian; `rows[k]` is the gradient of output element k.
    fn check_entries(
        &self,
        differences: &mut Differences<'_>,
        at: Place<'_>,
        rows: &[&Tensor<f64>],
        positions: &[(usize, Vec<usize>)],
        report: &mut Report,
    ) -> Result<(), Fault> {
        let size = rows.iter().fold(0.0, |m: f64, row| m.max(largest(row.data())));
        let elements = rows.first().map_or(0, |row| row.data().len());
        let mut numeric = vec![0.0; rows.len() * elements];
        let before = report.differing;
        for index in 0..elements {
            let direction = Direction::Element { input: at.input, index };
            let analytic = |k: usize| rows[k].data()[index];
            let settled = |k: usize, found: Estimate| self.settles(analytic(k), found, size);
            let found = differences.along(&direction, &Readout::Elements, &settled)?;
            for (k, found) in found.into_iter().enumerate() {
                numeric[k * elements + index] = found.value;
                let entry = Entry {
                    index: Some(unravel(index, at.shape)),
                    output: Some(positions[k].clone()),
                    ..self.entry(at.name, analytic(k), found, size)
                };
                self.note(entry, found, size, report);
            }
        }
        if report.differing > before && report.cause.is_none() {
            let analytic = rows.iter().flat_map(|row| row.data()).copied().collect();
            let jacobians = Jacobians { analytic, numeric, input: at.shape, outputs: rows.len() };
            report.cause = jacobians.likely_cause();
        }
        Ok(())
    }

    /// < cotangent, J tangent > for a random tangent of one input.
    fn check_projection(
        &self,
        differences: &mut Differences<'_>,
        input: usize,
        name: &str,
        gradient: &Tensor<f64>,
        (k, cotangent): (usize, &[f64]),
        report: &mut Report,
    ) -> Result<(), Fault> {
        let purpose = format!("tangent of input {input}");
        let tangent = self.random(gradient.data().len(), &purpose, k as u64);
        let shares = || gradient.data().iter().zip(&tangent).map(|(g, t)| g * t);
        let analytic: f64 = shares().sum();
        let size = shares().map(|share| share * share).sum::<f64>().sqrt();
        let direction = Direction::Tangent { input, tangent: &tangent };
        let settled = |_: usize, found: Estimate| self.settles(analytic, found, size);
        let found = differences.along(&direction, &Readout::Weighted(cotangent), &settled)?;
        self.note(self.entry(name, analytic, found[0], size), found[0], size, report);
        Ok(())
    }

    /// No other step is needed: the bar is below the tolerance, and the two sides agree.
    fn settles(&self, analytic: f64, found: Estimate, size: f64) -> bool {
        let flat = size == 0.0 && found.value == 0.0;
        flat || self.observes(analytic, found, size)
            && self.error(analytic, found, size) <= self.tolerance
    }

    /// The error bar is small enough for an error of the tolerance to be seen.
    pub(super) fn observes(&self, analytic: f64, found: Estimate, size: f64) -> bool {
        found.bar <= self.tolerance * size.max(analytic.abs()).max(found.value.abs())
    }

    /// |a - n| / (size + bar / tolerance): at most the tolerance exactly if |a - n| is at most
    /// bar + tolerance size.
    pub(super) fn error(&self, analytic: f64, found: Estimate, size: f64) -> f64 {
        let size = size.max(analytic.abs()).max(found.value.abs());
        let error = (analytic - found.value).abs() / (size + found.bar / self.tolerance);
        match (analytic == found.value, error.is_nan()) {
            (true, _) => 0.0,
            (_, true) => f64::INFINITY,
            _ => error,
        }
    }

    /// Notes an entry, and whether it was observed.
    fn note(&self, entry: Entry, found: Estimate, size: f64, report: &mut Report) {
        let flat = size == 0.0 && entry.analytic == 0.0 && found.value == 0.0;
        let observed = self.observes(entry.analytic, found, size);
        report.note(entry, found.kink, observed, flat);
    }

    /// A projection of an input, or the entry at a place that is set afterwards.
    pub(super) fn entry(&self, input: &str, analytic: f64, found: Estimate, size: f64) -> Entry {
        Entry {
            input: input.to_string(),
            index: None,
            output: None,
            analytic,
            numeric: found.value,
            bar: found.bar,
            step: found.step,
            bend: found.bend,
            error: self.error(analytic, found, size),
        }
    }

    /// Numbers between 0.5 and 1.5 with random signs: none too small to matter.
    pub(super) fn random(&self, n: usize, purpose: &str, k: u64) -> Vec<f64> {
        let mut rng = rng::stream(self.seed, purpose, k);
        let mut draw = || {
            let bits = rng.next_u64();
            let size = 0.5 + (bits >> 12) as f64 / (1_u64 << 52) as f64;
            if bits & 1 == 0 { size } else { -size }
        };
        (0..n).map(|_| draw()).collect()
    }
}

/// The input that is being checked.
struct Place<'a> {
    input: usize,
    name: &'a str,
    shape: &'a [usize],
}

fn same_bits(a: &[Tensor<f64>], b: &[Tensor<f64>]) -> bool {
    let bits = |x: &[Tensor<f64>]| -> Vec<u64> {
        x.iter().flat_map(|x| x.data()).map(|x| x.to_bits()).collect()
    };
    bits(a) == bits(b)
}
