//! Tensors: a shape of at most four axes and one shared, contiguous, row-major buffer.
//!
//! No strides, no views, no laziness. Cloning shares the buffer; writing to a shared one copies
//! first. A large buffer that came from a [`Pool`] returns to it when its last owner goes.

mod shape;
mod pool;
mod tensor;

pub use pool::{Buffer, Pool};
pub use shape::Shape;
pub use tensor::Tensor;
