//! Nodes: the values on a tape, and the buffers that they come from.

use crate::real::Real;
use crate::tensor::{Pool, Shape, Tensor};
use std::sync::Arc;

/// One value.
pub(super) struct Node<T: Real> {
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// `None` once freed.
    pub(super) value: Option<Tensor<T>>,
    pub(super) needs_gradient: bool,
    pub(super) label: Option<Arc<str>>,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// From outside; it gets a gradient.
    Leaf,
    /// From outside; it gets none.
    Constant,
    /// From the op that was recorded as this one.
    Output(usize),
}

/// Reusable buffers for elements, for ids and codes, and for moments.
#[derive(Debug, Default)]
pub struct Pools<T: Real> {
    /// Elements of tensors.
    pub values: Pool<T>,
    /// Ids, codes and counts.
    pub ids: Pool<u32>,
    /// Moments, in double precision.
    pub moments: Pool<f64>,
}
