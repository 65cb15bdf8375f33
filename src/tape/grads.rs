//! The gradients of parameters: what training works with.

use super::gradient::Gradient;
use crate::error::{Error, Result};
use crate::kernels::elementwise::update;
use crate::kernels::reduce::{dot, largest, norm};
use crate::params::{ParamId, Params};
use crate::real::Real;
use crate::tensor::{Pool, Shape, Tensor};
use std::sync::OnceLock;

/// The gradients of a model's parameters, and the statistics that the forward pass moves.
///
/// They are kept by [`ParamId`], need no tape, and can be sent to other threads.
///
/// ```
/// use dpq::{Params, Tape, Tensor};
/// let mut params = Params::new();
/// let x = params.add("x", Tensor::from([3.0_f64, 4.0]));
/// let (loss, mut grads, ()) =
///     Tape::new().value_and_grad(&params, |p| ((p[x] * p[x]).sum() * 0.5, ()))?;
/// assert_eq!((loss, grads.dense(x).data()), (12.5, &[3.0, 4.0][..]));
/// assert_eq!(grads.clip_global_norm(1.0), 5.0);
///
/// // One step of descent by hand.
/// grads.apply(&mut params, |x, dx| x.iter_mut().zip(dx).for_each(|(x, dx)| *x -= dx))?;
/// assert!((params.get(x).data()[0] - 2.4).abs() < 1e-15);
/// # Ok::<(), dpq::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Grads<T: Real> {
    pub(super) entries: Vec<Entry<T>>,
    moves: Vec<Move<T>>,
    /// What every gradient still has to be multiplied by.
    pub(super) factor: f64,
    /// The norm before it is.
    pub(super) norm: OnceLock<f64>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry<T: Real> {
    id: ParamId,
    pub(super) shape: Shape,
    /// `None` where the loss does not depend on the parameter.
    pub(super) gradient: Option<Gradient<T>>,
}

/// A statistic s that becomes s + rate (toward - s).
#[derive(Clone, Debug)]
pub struct Move<T: Real> {
    /// Which statistic.
    pub id: ParamId,
    /// Where it moves.
    pub toward: Tensor<T>,
    /// How far: 0 stays, 1 arrives.
    pub rate: T,
}

/// Elements that [`Grads::apply`] scales at a time.
const PART: usize = 512;

/// Sums of squares below this are added up again: in single precision some squares are 0 then.
const SMALL: f64 = 1e-18;

impl<T: Real> Grads<T> {
    pub(super) fn new(
        gradients: impl Iterator<Item = (ParamId, Shape, Option<Gradient<T>>)>,
        moves: Vec<Move<T>>,
    ) -> Self {
        let entry = |(id, shape, gradient)| Entry { id, shape, gradient };
        Grads { entries: gradients.map(entry).collect(), moves, factor: 1.0, norm: OnceLock::new() }
    }

    #[track_caller]
    fn entry(&self, id: ParamId) -> &Entry<T> {
        match self.entries.iter().find(|entry| entry.id == id) {
            Some(entry) => entry,
            None => panic!("{id:?} is no trained parameter of the pass that gave these gradients"),
        }
    }

    /// The gradient of a parameter, `None` where the loss does not depend on it.
    ///
    /// # Panics
    /// If the parameter was not bound to the pass, or is not trained.
    #[track_caller]
    pub fn get(&self, id: ParamId) -> Option<Gradient<T>> {
        self.unscaled_of(id).map(|gradient| self.scaled(gradient))
    }

    /// The gradient of a parameter in its own shape, zeros where the loss does not depend on it.
    ///
    /// # Panics
    /// As [`get`](Grads::get).
    #[track_caller]
    pub fn dense(&self, id: ParamId) -> Tensor<T> {
        let zeros = || Tensor::zeros(self.entry(id).shape);
        self.get(id).map_or_else(zeros, |gradient| gradient.to_dense())
    }

    /// The parameters that have a gradient, with it, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, Gradient<T>)> {
        self.unscaled().map(|(id, gradient)| (id, self.scaled(gradient)))
    }

    fn scaled(&self, gradient: &Gradient<T>) -> Gradient<T> {
        if self.factor == 1.0 { gradient.clone() } else { gradient.scaled(self.factor) }
    }

    /// The gradients before they are scaled by [`factor`](Grads::factor).
    pub(crate) fn unscaled(&self) -> impl Iterator<Item = (ParamId, &Gradient<T>)> + Clone {
        self.entries.iter().filter_map(|entry| Some((entry.id, entry.gradient.as_ref()?)))
    }

    /// The gradient of a parameter before it is scaled by [`factor`](Grads::factor).
    ///
    /// # Panics
    /// As [`get`](Grads::get).
    #[track_caller]
    pub(crate) fn unscaled_of(&self, id: ParamId) -> Option<&Gradient<T>> {
        self.entry(id).gradient.as_ref()
    }

    /// What [`unscaled`](Grads::unscaled) gradients have to be multiplied by.
    pub(crate) fn factor(&self) -> f64 {
        self.factor
    }

    /// The statistics to move, in the order in which the forward pass asked for it.
    pub fn moves(&self) -> &[Move<T>] {
        &self.moves
    }

    /// The Euclidean norm of all gradients taken together. A row that occurs several times in a
    /// batch counts with the sum of its gradients. It is infinite or NaN only if an element is.
    pub fn norm(&self) -> f64 {
        let of_all = || {
            let parts = || self.unscaled().map(|(_, gradient)| gradient.stored().data());
            let squares = parts().map(|part| dot(part, part)).sum::<f64>();
            let told = squares.is_finite() && squares > SMALL;
            if told { squares.sqrt() } else { norm(parts()) }
        };
        self.norm.get_or_init(of_all) * self.factor.abs()
    }

    /// Scales every gradient down, if the [`norm`](Grads::norm) exceeds `limit`, to that norm.
    /// Returns the norm before. A second, looser limit changes nothing.
    ///
    /// # Panics
    /// If the limit is no positive, finite number.
    #[track_caller]
    pub fn clip_global_norm(&mut self, limit: f64) -> f64 {
        assert!(
            limit > 0.0 && limit.is_finite(),
            "clip_global_norm: limit {limit}: expected a positive number"
        );
        let norm = self.norm();
        if norm > limit && norm.is_finite() {
            self.scale(limit / norm);
        }
        norm
    }

    /// Multiplies every gradient by `factor`, for example 1/n for the mean of n micro-batches.
    ///
    /// # Panics
    /// If the product of all factors so far is not finite in this precision, or becomes 0 in it though
    /// no factor is.
    #[track_caller]
    pub fn scale(&mut self, factor: f64) {
        let product = self.factor * factor;
        let held = T::from_f64(product);
        assert!(
            held.is_finite() && (held != T::ZERO || factor == 0.0 || self.factor == 0.0),
            "scale: factor {product:?}: expected a finite number that the precision holds"
        );
        self.factor = product;
    }

    /// Adds the gradients of another pass over the same parameters, whose statistics move after
    /// this one's: the sum over several workers, or over several parts of a batch.
    ///
    /// # Panics
    /// If the other pass had other parameters.
    #[track_caller]
    pub fn merge(&mut self, other: Grads<T>) {
        let ids = |grads: &Grads<T>| grads.entries.iter().map(|e| e.id).collect::<Vec<_>>();
        assert!(ids(self) == ids(&other), "merge: gradients of other parameters");
        let (pool_ids, pool) = (Pool::default(), Pool::default());
        for (own, other_entry) in self.entries.iter_mut().zip(&other.entries) {
            let scaled = |factor: f64, gradient: Gradient<T>| {
                if factor == 1.0 { gradient } else { gradient.scaled(factor) }
            };
            let terms = [
                own.gradient.take().map(|gradient| scaled(self.factor, gradient)),
                other_entry.gradient.clone().map(|gradient| scaled(other.factor, gradient)),
            ];
            own.gradient = match terms {
                [Some(a), Some(b)] => Some(a.plus(b, &pool_ids, &pool)),
                [a, b] => a.or(b),
            };
        }
        self.moves.extend(other.moves);
        (self.factor, self.norm) = (1.0, OnceLock::new());
    }

    /// The step of an optimiser of one's own: calls `f(p, dp)` for matching parts of every parameter
    /// and its gradient, as long as its elements depend on nothing else, and then moves the
    /// statistics. Of a row-sparse gradient `f` sees only the rows.
    ///
    /// # Errors
    /// As [`check_finite`](Grads::check_finite); nothing is written then.
    ///
    /// # Panics
    /// If the tape that the gradients come from was not reset.
    #[track_caller]
    pub fn apply(&self, params: &mut Params<T>, mut f: impl FnMut(&mut [T], &[T])) -> Result<()> {
        self.check_finite(params)?;
        let factor = T::from_f64(self.factor);
        let mut scaled = Vec::with_capacity(PART);
        for (id, gradient) in self.unscaled() {
            let p = params.write(id);
            for (at, dp) in gradient.parts() {
                if self.factor == 1.0 {
                    f(&mut p[at..at + dp.len()], dp);
                    continue;
                }
                let parts = p[at..at + dp.len()].chunks_mut(PART).zip(dp.chunks(PART));
                for (p, dp) in parts {
                    scaled.clear();
                    scaled.extend(dp.iter().map(|&dp| dp * factor));
                    f(p, &scaled);
                }
            }
        }
        self.move_statistics(params);
        Ok(())
    }

    /// s <- s + rate (toward - s) for every statistic that the pass asked to move, in order.
    ///
    /// # Panics
    /// If the tape that the gradients come from was not reset.
    #[track_caller]
    pub fn move_statistics(&self, params: &mut Params<T>) {
        for Move { id, toward, rate } in &self.moves {
            update(params.write(*id), toward.data(), |s, toward| s + *rate * (toward - s));
        }
    }

    /// Checks that a step may be taken: that every gradient is finite, and so are the parameters, as
    /// far as they have one, and the statistics with what they move toward.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the name of the first parameter or statistic that is not.
    #[track_caller]
    pub fn check_finite(&self, params: &Params<T>) -> Result<()> {
        self.check_step(params, |_, largest| largest)
    }

    /// [`check_finite`](Grads::check_finite), and that no parameter can leave the range of the
    /// precision: `bound(name, largest)` bounds its elements after the step, `largest` those before.
    #[track_caller]
    pub(crate) fn check_step(
        &self,
        params: &Params<T>,
        bound: impl Fn(&str, f64) -> f64,
    ) -> Result<()> {
        // The norm is known where gradients are clipped, and within the range where they all are.
        let within = T::from_f64(self.norm()).is_finite();
        for (id, gradient) in self.unscaled() {
            let name = params.name(id);
            if !within {
                let what = || format!("the gradient of parameter {name}");
                gradient.stored().check_finite(what)?;
                let scaled = largest(gradient.stored().data()) * self.factor.abs();
                if !T::from_f64(scaled).is_finite() {
                    return Err(Error::NotFinite { what: what(), value: f64::INFINITY });
                }
            }
            let (p, mut most) = (params.get(id), 0.0);
            for (at, dp) in gradient.parts() {
                let largest = largest(&p.data()[at..at + dp.len()]);
                if largest.is_nan() {
                    p.check_finite(|| format!("parameter {name}"))?;
                }
                most = largest.max(most);
            }
            if !T::from_f64(bound(name, most)).is_finite() {
                let what = format!("parameter {name} after the step");
                return Err(Error::NotFinite { what, value: f64::INFINITY });
            }
        }
        for Move { id, toward, .. } in &self.moves {
            let name = params.name(*id);
            toward.check_finite(|| format!("what statistic {name} moves toward"))?;
            params.get(*id).check_finite(|| format!("statistic {name}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    /// A table and a vector; the gradients of two rows, of all of the vector, and of a mean.
    fn pass(rows: &[u32]) -> (Params<f64>, [ParamId; 3], Grads<f64>) {
        let mut params = Params::new();
        let table = params.add("table", Tensor::full([4, 2], 1.0));
        let vector = params.add("vector", Tensor::from([3.0, 4.0]));
        let mean = params.add_statistic("mean", Tensor::from([0.0]));
        let grads = grads_of(&params, [table, vector, mean], rows);
        (params, [table, vector, mean], grads)
    }

    fn grads_of(
        params: &Params<f64>,
        [table, vector, mean]: [ParamId; 3],
        rows: &[u32],
    ) -> Grads<f64> {
        let mut tape = Tape::new();
        let (_, grads, ()) = tape
            .value_and_grad(params, |p| {
                p.tape.move_statistic(mean, Tensor::from([2.0]), 0.25);
                (p[table].gather_rows(rows).sum() + (p[vector] * p[vector]).sum(), ())
            })
            .unwrap();
        grads
    }

    #[test]
    fn only_the_looked_up_rows_move_and_statistics_move_along() {
        let (mut params, [table, vector, mean], grads) = pass(&[2, 2, 1]);
        let half =
            |p: &mut [f64], dp: &[f64]| p.iter_mut().zip(dp).for_each(|(p, dp)| *p -= 0.5 * dp);
        grads.apply(&mut params, half).unwrap();
        assert_eq!(params.get(table).data(), [1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(params.get(vector).data(), [0.0, 0.0]);
        assert_eq!(params.get(mean).data(), [0.5]);
    }

    #[test]
    fn everyone_sees_a_clipped_gradient_and_a_looser_clip_does_not_undo_it() {
        let (mut params, [table, vector, _], mut grads) = pass(&[0]);
        let norm = (2.0_f64 + 100.0).sqrt();
        assert_eq!(grads.clip_global_norm(1.0), norm);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        close(grads.norm(), 1.0);
        close(grads.clip_global_norm(100.0), 1.0);
        close(grads.dense(vector).data()[1], 8.0 / norm);
        close(grads.get(table).unwrap().stored().data()[0], 1.0 / norm);
        let mut seen = Vec::new();
        grads.apply(&mut params, |_, dp| seen.extend_from_slice(dp)).unwrap();
        let expected = [1.0, 1.0, 6.0, 8.0];
        seen.iter().zip(expected).for_each(|(seen, dp)| close(*seen, dp / norm));
    }

    #[test]
    fn merged_gradients_are_sums_and_statistics_move_one_after_the_other() {
        let (mut params, ids, mut grads) = pass(&[2]);
        let mut other = grads_of(&params, ids, &[1]);
        other.scale(3.0);
        grads.merge(other);
        assert_eq!(grads.dense(ids[0]).data(), [0.0, 0.0, 3.0, 3.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(grads.dense(ids[1]).data(), [24.0, 32.0]);
        grads.move_statistics(&mut params);
        assert_eq!(params.get(ids[2]).data(), [0.875]);
    }

    #[test]
    fn gradients_can_be_sent() {
        fn is_send<S: Send + Sync>(_: &S) {}
        is_send(&pass(&[0]).2);
    }

    #[test]
    #[should_panic(expected = "is no trained parameter of the pass")]
    fn the_gradient_of_a_statistic_is_refused() {
        let (_, [_, _, mean], grads) = pass(&[0]);
        grads.get(mean);
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_named_before_anything_is_written() {
        let mut params = Params::new();
        let a = params.add("a", Tensor::from([1.0_f32]));
        let b = params.add("b", Tensor::from([0.0_f32]));
        let mut tape = Tape::new();
        let (_, grads, ()) = tape
            .value_and_grad(&params, |p| ((p[a] + (p[b] + 1e-30).ln() * 1e30).sum(), ()))
            .unwrap();
        let error = grads.apply(&mut params, |p, _| p.fill(9.0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the gradient of parameter b is inf: expected a finite number"
        );
        assert_eq!(params.get(a).data(), [1.0]);
    }
}
