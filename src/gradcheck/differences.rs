//! Numeric derivatives, each with an error bar.
//!
//! Central differences (f(x + h) - f(x - h)) / 2h with steps h, h/2, ... are extrapolated to step 0
//! (Richardson): every further step removes the next power of h². What the last extrapolation changed
//! is taken for what is still missing, and the rounding of f, divided by h, is added. A smaller step
//! has less of the one and more of the other, so the step is chosen for every coordinate by itself:
//! the one with the smallest bar.

use super::function::{Fault, Function};
use crate::error::Error;
use crate::rng;
use crate::tensor::Tensor;
use rand::Rng;
use std::sync::Arc;

/// How many roundings of max|y| a difference is taken to contain.
pub const NOISE: f64 = 8.0;

/// How much smaller every further step is, about.
const SMALLER: f64 = 16.0;

/// Steps above the first one, as multiples of it, for what rounding hides from smaller ones.
const LARGER: [f64; 2] = [16.0, 128.0];

/// Random tangents along which the rounding inside of a function is looked for.
const PROBES: u64 = 8;

/// Where a function is perturbed.
pub(super) enum Direction<'a> {
    /// One element of one input.
    Element { input: usize, index: usize },
    /// All elements of one input at once.
    Tangent { input: usize, tangent: &'a [f64] },
}

impl Direction<'_> {
    fn input(&self) -> usize {
        let (Direction::Element { input, .. } | Direction::Tangent { input, .. }) = self;
        *input
    }
}

/// Which numbers are differentiated.
pub(super) enum Readout<'a> {
    /// Every element of the outputs.
    Elements,
    /// The sum of the outputs' elements, each times a weight.
    Weighted(&'a [f64]),
}

impl Readout<'_> {
    fn of(&self, y: &[f64]) -> Vec<f64> {
        match self {
            Readout::Elements => y.to_vec(),
            Readout::Weighted(weights) => vec![y.iter().zip(*weights).map(|(y, w)| y * w).sum()],
        }
    }

    /// How much larger the rounding of what is read is than that of an element.
    fn noise(&self) -> f64 {
        match self {
            Readout::Elements => 1.0,
            Readout::Weighted(weights) => weights.iter().map(|w| w * w).sum::<f64>().sqrt(),
        }
    }
}

/// A derivative with its error bar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub(super) value: f64,
    /// How far it may be from the derivative.
    pub(super) bar: f64,
    pub(super) step: f64,
    /// The function bends here at every step: it has no derivative.
    pub(super) kink: bool,
    /// A larger step at which the function bends, so that a kink is likely within it.
    pub(super) bend: Option<f64>,
}

/// Differences with one first step.
struct Slope {
    step: f64,
    value: Vec<f64>,
    /// What the last extrapolation changed.
    change: Vec<f64>,
    /// |f(+) - 2 f(0) + f(-)| / h: falls with h where f is smooth, stays at a kink, and grows where
    /// it is rounding.
    gap: Vec<f64>,
    /// The rounding of the outputs, over h.
    noise: f64,
    /// The rounding of the inputs, relative to the derivative.
    blur: f64,
}

/// Evaluations of a function near its base point.
pub(super) struct Differences<'a> {
    function: &'a mut dyn Function,
    base: Vec<Tensor<f64>>,
    middle: Vec<f64>,
    /// The first step, relative to the input's largest element.
    step: f64,
    /// The relative error of one rounding.
    rounding: f64,
    /// For every input, the rounding inside of the function, once it is asked for.
    hidden: Vec<Option<f64>>,
}

impl<'a> Differences<'a> {
    pub(super) fn new(
        function: &'a mut dyn Function,
        step: f64,
        rounding: f64,
    ) -> Result<Self, Fault> {
        let base: Vec<_> = function.inputs().iter().map(|input| input.value.clone()).collect();
        let middle = finite(function.values(&base)?, "an output")?;
        let hidden = vec![None; base.len()];
        Ok(Differences { function, base, middle, step, rounding, hidden })
    }

    /// The derivative of everything that is read along a direction. Other steps than the first are
    /// taken for as long as `settled` refuses an estimate of readout k.
    pub(super) fn along(
        &mut self,
        direction: &Direction<'_>,
        readout: &Readout<'_>,
        settled: &dyn Fn(usize, Estimate) -> bool,
    ) -> Result<Vec<Estimate>, Fault> {
        let steps = self.steps(direction);
        let first = steps[0];
        let larger = LARGER.map(|times| (first * times, 3));
        let mut best: Vec<Option<Estimate>> = Vec::new();
        let mut fault = None;
        let mut taken: Vec<Slope> = Vec::new();
        for (h, levels) in steps.into_iter().map(|h| (h, 2)).chain(larger) {
            let unsettled = |(k, found): (usize, &Option<Estimate>)| {
                found.is_none_or(|found| !settled(k, found))
            };
            if !best.is_empty() && !best.iter().enumerate().any(unsettled) {
                break;
            }
            let slope = match self.slope(direction, readout, h, levels) {
                Ok(slope) => slope,
                Err(error) => {
                    // Steps that leave the domain are not taken.
                    fault = Some(error);
                    continue;
                }
            };
            best.resize(slope.value.len(), None);
            for (k, best) in best.iter_mut().enumerate() {
                let found = slope.estimate(k, 0.0);
                if best.is_none_or(|best| found.bar < best.bar) {
                    *best = Some(found);
                }
            }
            taken.push(slope);
        }
        // Without any step that can be taken there is nothing to say but why.
        if best.is_empty() && !self.middle.is_empty() {
            return Err(fault.expect("no step without a fault"));
        }
        let mut found: Vec<Estimate> = best.into_iter().flatten().collect();
        let narrowing = &taken[..taken.partition_point(|slope| slope.step <= first)];
        for (k, found) in found.iter_mut().enumerate() {
            if !settled(k, *found) {
                let noise = NOISE * self.hidden_rounding(direction.input()) * readout.noise();
                let estimates = taken.iter().map(|slope| slope.estimate(k, noise));
                let narrowest = estimates.min_by(|a, b| a.bar.total_cmp(&b.bar));
                *found = narrowest.expect("a step was taken");
                found.kink = bends_at_every_step(narrowing, k);
            }
            let bent = narrowing.iter().rev().find(|slope| slope.is_rough(k));
            found.bend = bent.map(|slope| slope.step);
        }
        Ok(found)
    }

    /// What an output moves by for no reason when this input moves: the rounding of large numbers
    /// inside of the function, which its value does not show. Second differences fall with h² where f
    /// is smooth and with h at a kink; one that does not is rounding.
    fn hidden_rounding(&mut self, input: usize) -> f64 {
        if let Some(known) = self.hidden[input] {
            return known;
        }
        let mut hidden = 0.0_f64;
        for probe in 0..PROBES {
            let mut rng = rng::stream(probe, "probe of rounding", input as u64);
            let elements = self.base[input].data().len();
            let tangent: Vec<f64> =
                (0..elements).map(|_| rng.next_u32() as i32 as f64 / 2f64.powi(31)).collect();
            let direction = Direction::Tangent { input, tangent: &tangent };
            let steps = self.steps(&direction);
            let larger = LARGER.iter().rev().map(|times| steps[0] * times);
            let bends: Vec<_> = larger
                .chain(steps.iter().copied())
                .filter_map(|h| Some((h, self.second_difference(&direction, h).ok()?)))
                .collect();
            for pair in bends.windows(2) {
                let [(wide, before), (narrow, after)] = pair else {
                    unreachable!("windows of two")
                };
                let stays = after.iter().zip(before).filter(|&(a, b)| a / narrow > 2.0 * b / wide);
                hidden = stays.map(|(a, _)| *a).fold(hidden, f64::max);
            }
        }
        self.hidden[input] = Some(hidden);
        hidden
    }

    /// |f(+h) - 2 f(0) + f(-h)| of every output.
    fn second_difference(&mut self, direction: &Direction<'_>, h: f64) -> Result<Vec<f64>, Fault> {
        let (up, _) = self.moved(direction, h)?;
        let (down, _) = self.moved(direction, -h)?;
        Ok(bends(&up, &self.middle, &down).map(f64::abs).collect())
    }

    /// The first step and smaller ones, as far as the rounding of the element or of the inputs leaves
    /// room.
    fn steps(&self, direction: &Direction<'_>) -> Vec<f64> {
        let x = self.base[direction.input()].data();
        let size = scale(x);
        let (first, smallest) = match direction {
            Direction::Element { index, .. } => {
                (self.step * size, x[*index].abs().max(1e-6 * size))
            }
            // Tangents are about 1, and elements of all sizes move.
            Direction::Tangent { .. } => (self.step * size, size),
        };
        let smallest = (4.0 * self.rounding.sqrt() * smallest).min(first);
        let count = ((first / smallest).ln() / SMALLER.ln()).ceil().max(1.0);
        (0..=count as i32).map(|k| first * (smallest / first).powf(f64::from(k) / count)).collect()
    }

    /// Extrapolated central differences with steps h, h/2, ..., as many as there are levels.
    fn slope(
        &mut self,
        direction: &Direction<'_>,
        readout: &Readout<'_>,
        h: f64,
        levels: usize,
    ) -> Result<Slope, Fault> {
        let mut rows: Vec<Vec<Vec<f64>>> = Vec::new();
        let mut gap = Vec::new();
        for level in 0..levels {
            let step = h / f64::from(1 << level);
            let (up, far) = self.moved(direction, step)?;
            let (down, near) = self.moved(direction, -step)?;
            let between = far - near;
            let slope: Vec<f64> =
                up.iter().zip(&down).map(|(up, down)| (up - down) / between).collect();
            if level + 1 == levels {
                let bend: Vec<f64> =
                    bends(&up, &self.middle, &down).map(|bend| bend / step).collect();
                gap = readout.of(&bend).iter().map(|gap| gap.abs()).collect();
            }
            // The tableau of Richardson: column j is free of the errors up to h^2j.
            let mut row = vec![readout.of(&slope)];
            for j in 1..=level {
                let factor = f64::from(1 << (2 * j));
                let (fine, coarse) = (&row[j - 1], &rows[level - 1][j - 1]);
                let better =
                    fine.iter().zip(coarse).map(|(f, c)| (factor * f - c) / (factor - 1.0));
                row.push(better.collect());
            }
            rows.push(row);
        }
        let last = rows.pop().expect("at least one level");
        let [.., before, value] = &last[..] else { unreachable!("at least two levels") };
        let change = value.iter().zip(before).map(|(v, b)| (v - b).abs()).collect();
        let noise = NOISE * self.rounding * largest(&self.middle) / h * readout.noise();
        let x = self.base[direction.input()].data();
        let moved = match direction {
            Direction::Element { index, .. } => x[*index].abs(),
            Direction::Tangent { .. } => scale(x),
        };
        let blur = 2.0 * self.rounding * moved / h;
        Ok(Slope { step: h, value: value.clone(), change, gap, noise, blur })
    }

    /// The outputs at a step along a direction, and how long the step is after rounding.
    fn moved(&mut self, direction: &Direction<'_>, h: f64) -> Result<(Vec<f64>, f64), Fault> {
        let mut at = self.base.clone();
        let mut taken = h;
        match direction {
            Direction::Element { input, index } => {
                let x = &mut at[*input].data_mut()[*index];
                let start = *x;
                *x = self.function.rounded(start + h);
                taken = *x - start;
            }
            Direction::Tangent { input, tangent } => {
                for (x, t) in at[*input].data_mut().iter_mut().zip(*tangent) {
                    *x = self.function.rounded(*x + h * t);
                }
            }
        }
        let y = finite(self.function.values(&at)?, "an output beside the point")?;
        Ok((y, taken))
    }
}

impl Slope {
    fn estimate(&self, k: usize, hidden: f64) -> Estimate {
        let (value, step) = (self.value[k], self.step);
        let noise = self.noise.max(hidden / step);
        let bar = self.change[k] + noise + self.blur * value.abs();
        Estimate { value, bar, step, kink: false, bend: None }
    }

    /// The estimates at h and h/2 are further apart than those of a smooth function.
    fn is_rough(&self, k: usize) -> bool {
        self.change[k] > 1e-3 * self.value[k].abs() + 30.0 * self.noise
    }
}

/// Whether the gap of readout k stays the same from step to step, above all rounding.
fn bends_at_every_step(slopes: &[Slope], k: usize) -> bool {
    let steady = slopes.windows(2).all(|pair| {
        let [wide, narrow] = [pair[0].gap[k], pair[1].gap[k]];
        narrow > 0.7 * wide && wide > 0.7 * narrow
    });
    let Some(last) = slopes.last() else { return false };
    let floor = 1e-6 * last.value[k].abs() + 30.0 * last.noise;
    slopes.len() > 1 && steady && last.gap[k] > floor
}

/// up - 2 middle + down, without the rounding of 2 middle.
fn bends(up: &[f64], middle: &[f64], down: &[f64]) -> impl Iterator<Item = f64> {
    let sides = up.iter().zip(down).zip(middle);
    sides.map(|((up, down), middle)| (up - middle) + (down - middle))
}

/// The largest absolute value, or 1 where all are 0.
pub(super) fn scale(x: &[f64]) -> f64 {
    let largest = largest(x);
    if largest > 0.0 { largest } else { 1.0 }
}

pub(super) fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

/// The values, if all are finite.
fn finite(y: Vec<f64>, what: &str) -> Result<Vec<f64>, Fault> {
    match y.iter().find(|y| !y.is_finite()) {
        None => Ok(y),
        Some(&value) => Err(Arc::new(Error::NotFinite { what: what.into(), value })),
    }
}
