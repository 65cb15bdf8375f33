//! Axes with round numbers, linear or logarithmic.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// An axis; range and ticks are logarithms if it is logarithmic.
#[derive(Clone)]
pub struct Axis {
    range: Range<f64>,
    pub ticks: Vec<f64>,
    logarithmic: bool,
    text: fn(f64) -> String,
}

impl Axis {
    pub fn linear(range: Range<f64>, most: usize, text: fn(f64) -> String) -> Axis {
        let ticks = even_ticks(&range, most);
        Axis { range, ticks, logarithmic: false, text }
    }

    /// Holds all values, or 0 to 1 if there are none; linear.
    pub fn around(values: impl Iterator<Item = f64>, most: usize, text: fn(f64) -> String) -> Axis {
        let finite: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let low = finite.iter().copied().fold(f64::MAX, f64::min);
        let high = finite.iter().copied().fold(f64::MIN, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = (0.06 * (high - low)).max(0.01 * high.abs()).max(1e-3);
        Axis::linear(low - margin..high + margin, most, text)
    }

    /// Holds all positive values, or 1 to 10 if there are none.
    pub fn log(values: impl Iterator<Item = f64>, most: usize, text: fn(f64) -> String) -> Axis {
        let logs: Vec<f64> = values.map(f64::log10).filter(|log| log.is_finite()).collect();
        let low = logs.iter().copied().fold(f64::MAX, f64::min);
        let high = logs.iter().copied().fold(f64::MIN, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // At least 5% to either side.
        let margin = (0.06 * (high - low)).max(0.02);
        let range = low - margin..high + margin;
        let ticks = log_ticks(&range, most);
        Axis { range, ticks, logarithmic: true, text }
    }

    pub fn shows(&self, x: f64) -> bool {
        x.is_finite() && self.range.contains(&self.at(x))
    }

    fn at(&self, x: f64) -> f64 {
        if self.logarithmic { x.log10() } else { x }
    }

    fn value(&self, at: f64) -> f64 {
        if self.logarithmic { 10f64.powf(at) } else { at }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (self.at(*value) - self.range.start) / (self.range.end - self.range.start);
        // A tick may lie beyond all numbers.
        first + (share.clamp(-1.0, 2.0) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let ticks = if hint.weight().allow_light_points() { &[][..] } else { &self.ticks };
        ticks.iter().map(|&tick| self.value(tick)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.value(self.range.start)..self.value(self.range.end)
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.text)(*value)
    }
}

/// At most `most` round numbers at equal distances.
fn even_ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let length = range.end - range.start;
    let power = 10f64.powf((length / most as f64).log10().floor());
    for step in [1.0, 2.0, 5.0, 10.0, 20.0].map(|step| step * power) {
        let ticks = (range.start / step).ceil() as i64..=(range.end / step).floor() as i64;
        if (ticks.end() - ticks.start()) < most as i64 {
            // Divided where it can be, so that 0.3 is not 0.30000000000000004.
            let tick =
                |i: i64| if step < 1.0 { i as f64 / (1.0 / step).round() } else { i as f64 * step };
            return ticks.map(tick).collect();
        }
    }
    vec![]
}

/// At most `most` logarithms of round numbers.
fn log_ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let decades = range.start.floor() as i32..=range.end.ceil() as i32;
    for mantissas in [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0][..], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]] {
        let ticks: Vec<f64> = decades
            .clone()
            .flat_map(|decade| mantissas.iter().map(move |m| f64::log10(*m) + f64::from(decade)))
            .filter(|tick| range.contains(tick))
            .collect();
        if (4..=most).contains(&ticks.len()) {
            return ticks;
        }
    }
    if range.end - range.start > 1.5 {
        return even_ticks(range, most).into_iter().filter(|tick| tick.fract() == 0.0).collect();
    }
    let linear = 10f64.powf(range.start)..10f64.powf(range.end);
    even_ticks(&linear, most).into_iter().map(f64::log10).collect()
}
