//! Matrix products on slices.
//!
//! c = a b is computed tile by tile: a few rows times a few vectors of columns, held in registers
//! while the depth is run through. A tile reads the left side row by row, where it stands unless it
//! is a transpose, and the right side from panels of columns, packed in the order in which they are
//! read unless rows are few. The work is split over threads by rows, or by columns where rows are
//! few. Each element of the result is the same chain of fused additions however the work is split.
//!
//! Read [`multiply`] first: its five loops, from threads down to the register tile.

mod matrix;
mod tile;
mod pack;
mod multiply;

pub(crate) use matrix::Matrix;
pub(crate) use multiply::multiply;
pub(crate) use pack::Packed;
