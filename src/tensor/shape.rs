//! Shapes: the lengths of at most four axes.

use std::fmt;
use std::ops::Deref;

/// The lengths of at most four axes. Dereferences to a slice of them.
///
/// A shape without axes is that of a scalar, one element.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    dims: [usize; 4],
    axes: u8,
}

impl Shape {
    /// How many elements the shape holds: the product of its lengths.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// All axes but the last multiplied, and the last: the shape seen as rows. A scalar is 1 x 1.
    pub fn as_matrix(&self) -> (usize, usize) {
        match self.split_last() {
            Some((&last, rest)) => (rest.iter().product(), last),
            None => (1, 1),
        }
    }

    /// The shape with axis `axis` of another length.
    #[track_caller]
    pub fn with(mut self, axis: usize, length: usize) -> Shape {
        assert!(axis < self.len(), "axis {axis} of shape {self:?}");
        self.dims[axis] = length;
        self
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..usize::from(self.axes)]
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(lengths: &[usize]) -> Shape {
        assert!(lengths.len() <= 4, "shape {lengths:?}: a tensor has at most four axes");
        let mut shape = Shape { dims: [0; 4], axes: lengths.len() as u8 };
        shape.dims[..lengths.len()].copy_from_slice(lengths);
        shape
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(lengths: [usize; N]) -> Shape {
        Shape::from(&lengths[..])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_and_three_axes_as_matrices() {
        assert_eq!(Shape::from([]).as_matrix(), (1, 1));
        assert_eq!(Shape::from([2, 3, 4]).as_matrix(), (6, 4));
    }
}
