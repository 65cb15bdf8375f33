//! Ops: a backward rule, and what it works with.

use super::gradient::{Gradient, Rows};
use super::node::{Node, Pools};
use super::ranks::Ranks;
use crate::real::Real;
use crate::tensor::{Buffer, Shape, Tensor};

/// A backward rule, with the fields that it needs.
///
/// An op has one or more inputs and outputs. Its rule reads the outputs' gradients from the
/// [`Context`] and adds its contribution to each input's.
///
/// ```
/// use dpq::{Context, Op, Real, Tape, Tensor, Var};
///
/// /// y = x^3
/// struct Cube;
/// impl<T: Real> Op<T> for Cube {
///     fn backward(&self, ctx: &mut Context<'_, T>) {
///         // dx = 3 x^2 dy
///         let (x, Some(dy)) = (ctx.input(0), ctx.output_grad(0)) else { return };
///         let three = T::from_f64(3.0);
///         let dx = Tensor::from_fn(x.shape(), |i| three * x.data()[i] * x.data()[i] * dy.data()[i]);
///         ctx.add(0, dx);
///     }
/// }
/// fn cube<T: Real>(x: Var<'_, T>) -> Var<'_, T> {
///     let v = x.value();
///     let y = Tensor::from_fn(v.shape(), |i| v.data()[i] * v.data()[i] * v.data()[i]);
///     let [y] = x.tape().record(Cube, &[x], [y]);
///     y
/// }
///
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::scalar(2.0_f64));
/// let grads = tape.backward(cube(x))?;
/// assert_eq!(grads.dense(x).item(), 12.0);
/// # Ok::<(), dpq::Error>(())
/// ```
pub trait Op<T: Real>: 'static {
    /// What the op is called on a printed tape: the type's own name.
    fn name(&self) -> &'static str {
        let path = std::any::type_name::<Self>();
        let path = path.split('<').next().unwrap_or(path);
        path.rsplit("::").next().unwrap_or(path)
    }

    /// Adds the contribution to every input's gradient.
    fn backward(&self, ctx: &mut Context<'_, T>);
}

/// An op as it was recorded.
pub(super) struct Recorded<T: Real> {
    pub(super) name: &'static str,
    /// `None` if no input needs a gradient, or once freed.
    pub(super) rule: Option<Box<dyn Op<T>>>,
    pub(super) inputs: Box<[usize]>,
    /// The node of the first output.
    pub(super) first: usize,
    pub(super) outputs: usize,
}

/// What a backward rule works with: inputs, outputs and the outputs' gradients to read, and a
/// place to add the inputs' gradients to.
pub struct Context<'a, T: Real> {
    pub(super) nodes: &'a [Node<T>],
    pub(super) op: &'a Recorded<T>,
    pub(super) output_grads: &'a [Option<Tensor<T>>],
    /// Of the nodes before the outputs.
    pub(super) grads: &'a mut [Option<Gradient<T>>],
    pub(super) pools: &'a Pools<T>,
    pub(super) ranks: &'a Ranks,
}

impl<'a, T: Real> Context<'a, T> {
    /// Input i's value.
    pub fn input(&self, i: usize) -> &'a Tensor<T> {
        let node: &'a Node<T> = &self.nodes[self.op.inputs[i]];
        node.value.as_ref().expect("inputs are freed after the ops that read them")
    }

    /// Output k's value.
    pub fn output(&self, k: usize) -> &'a Tensor<T> {
        let node: &'a Node<T> = &self.nodes[self.op.first + k];
        node.value.as_ref().expect("outputs are freed after their op")
    }

    /// The gradient of output k, `None` if nothing depends on it.
    pub fn output_grad(&self, k: usize) -> Option<&'a Tensor<T>> {
        let grads: &'a [Option<Tensor<T>>] = self.output_grads;
        grads[k].as_ref()
    }

    /// Whether input i needs a gradient: if not, its contribution need not be computed.
    pub fn needs(&self, i: usize) -> bool {
        self.nodes[self.op.inputs[i]].needs_gradient
    }

    /// A tensor with unspecified contents, to fill and [`add`](Context::add).
    #[track_caller]
    pub fn uninit(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = shape.into();
        Tensor::from_buffer(shape, self.pools.values.take(shape.elements()))
    }

    /// The ranks that work on this pass.
    pub(crate) fn ranks(&self) -> &'a Ranks {
        self.ranks
    }

    /// The tape's buffers.
    pub fn pools(&self) -> &'a Pools<T> {
        self.pools
    }

    /// Adds to input i's gradient: the first contribution is moved in, later ones are added to it. Does
    /// nothing if the input needs no gradient.
    ///
    /// # Panics
    /// If the gradient has another shape than the input.
    #[track_caller]
    pub fn add(&mut self, i: usize, gradient: Tensor<T>) {
        let node = self.op.inputs[i];
        assert_eq!(
            gradient.shape(),
            self.nodes[node].shape,
            "shapes of the gradient and of input {i}"
        );
        if self.needs(i) {
            accumulate(self.pools, &mut self.grads[node], Gradient::Dense(gradient));
        }
    }

    /// Adds to some rows of input i's gradient, no two of `ids` equal, `rows` ids.len() x width.
    ///
    /// # Panics
    /// If input i is no matrix with such rows.
    #[track_caller]
    pub fn add_rows(&mut self, i: usize, ids: Buffer<u32>, rows: Tensor<T>) {
        let node = self.op.inputs[i];
        let shape = self.nodes[node].shape;
        assert!(
            shape.len() == 2 && rows.shape()[..] == [ids.len(), shape[1]],
            "row gradient of shape {:?} for {} ids of input {i}, of shape {shape:?}",
            rows.shape(),
            ids.len()
        );
        debug_assert!(all_differ(&ids), "a row id comes twice");
        if self.needs(i) {
            accumulate(
                self.pools,
                &mut self.grads[node],
                Gradient::Rows(Rows { ids, rows, height: shape[0] }),
            );
        }
    }
}

fn all_differ(ids: &[u32]) -> bool {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// Adds a term to a gradient; the first is moved in.
pub(super) fn accumulate<T: Real>(
    pools: &Pools<T>,
    sum: &mut Option<Gradient<T>>,
    term: Gradient<T>,
) {
    *sum = Some(match sum.take() {
        None => term,
        Some(sum) => sum.plus(term, &pools.ids, &pools.values),
    });
}
