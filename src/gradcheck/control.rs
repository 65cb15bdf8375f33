//! The checker's own check: a right rule that is damaged must be found.

use super::function::{Cotangents, ENTRIES, Fault, Function, Input, PulledBack, Rule};
use crate::tensor::Tensor;

/// What is done to a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Damage {
    Scaled,
    Dropped,
    Transposed,
}

impl Damage {
    pub(super) const ALL: [Damage; 3] = [Damage::Scaled, Damage::Dropped, Damage::Transposed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Damage::Scaled => "all gradients a little larger",
            Damage::Dropped => "the largest term dropped",
            Damage::Transposed => "the Jacobian transposed",
        }
    }
}

/// A function whose rule is damaged.
pub(super) struct Damaged<'a> {
    rule: &'a mut dyn Rule,
    damage: Damage,
    /// What a scaled gradient is multiplied by: 1 + 1e-4, or what the tolerance can tell from 1.
    factor: f64,
    changed: bool,
}

impl<'a> Damaged<'a> {
    pub(super) fn new(rule: &'a mut dyn Rule, damage: Damage, tolerance: f64) -> Self {
        Damaged { rule, damage, factor: 1.0 + (4.0 * tolerance).max(1e-4), changed: false }
    }

    /// Whether the damage changed anything: a symmetric Jacobian is its own transpose.
    pub(super) fn applies(&self) -> bool {
        self.changed
    }

    fn spoil(&mut self, gradient: &mut Tensor<f64>) {
        let data = gradient.data();
        let Some(largest) =
            (0..data.len()).max_by(|&i, &j| data[i].abs().total_cmp(&data[j].abs()))
        else {
            return;
        };
        if data[largest] == 0.0 {
            return;
        }
        self.changed = true;
        match self.damage {
            Damage::Scaled => gradient.data_mut().iter_mut().for_each(|g| *g *= self.factor),
            Damage::Dropped => gradient.data_mut()[largest] = 0.0,
            Damage::Transposed => unreachable!("done to all gradients together"),
        }
    }

    /// J u in place of J' u, for every input that has as many elements as the outputs. Nothing of a
    /// Jacobian that is too large to take whole.
    fn transpose(&mut self, cotangents: &Cotangents) -> Result<PulledBack, Fault> {
        let units = |n: usize| -> Vec<Vec<f64>> {
            (0..n).map(|k| (0..n).map(|i| f64::from(u8::from(i == k))).collect()).collect()
        };
        let mut found = self.rule.pull_back(cotangents)?;
        let elements: usize = self.rule.inputs().iter().map(|x| x.value.data().len()).sum();
        if found.outputs.len() * elements > ENTRIES {
            return Ok(found);
        }
        let jacobian = self.rule.pull_back(&units)?.gradients;
        for (row, u) in found.gradients.iter_mut().zip(cotangents(found.outputs.len())) {
            for (input, gradient) in row.iter_mut().enumerate() {
                if gradient.data().len() != u.len() {
                    continue;
                }
                let dot =
                    |k: usize| jacobian[k][input].data().iter().zip(&u).map(|(j, u)| j * u).sum();
                let other = Tensor::from_fn(gradient.shape(), dot);
                let apart = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-3 * a.abs().max(b.abs());
                self.changed |= other.data().iter().zip(gradient.data()).any(apart);
                *gradient = other;
            }
        }
        Ok(found)
    }
}

impl Function for Damaged<'_> {
    fn inputs(&self) -> &[Input] {
        self.rule.inputs()
    }

    fn values(&mut self, at: &[Tensor<f64>]) -> Result<Vec<f64>, Fault> {
        self.rule.values(at)
    }

    fn rounded(&self, x: f64) -> f64 {
        self.rule.rounded(x)
    }
}

impl Rule for Damaged<'_> {
    fn pull_back(&mut self, cotangents: &Cotangents) -> Result<PulledBack, Fault> {
        if self.damage == Damage::Transposed {
            return self.transpose(cotangents);
        }
        let mut found = self.rule.pull_back(cotangents)?;
        found.gradients.iter_mut().flatten().for_each(|gradient| self.spoil(gradient));
        Ok(found)
    }

    fn position(&self, k: usize) -> (usize, Vec<usize>) {
        self.rule.position(k)
    }
}
