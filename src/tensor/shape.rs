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
    ///
    /// # Panics
    /// If the product of the lengths that are not 0 is more than a `usize` holds.
    #[track_caller]
    pub fn elements(&self) -> usize {
        match self.checked_elements() {
            Some(elements) => elements,
            None => panic!("shape {self:?} has more elements than can be counted"),
        }
    }

    /// The same, `None` instead of a panic.
    pub(super) fn checked_elements(&self) -> Option<usize> {
        // Without the zeros, so that no product of some of the lengths overflows either.
        let product = self.iter().try_fold(1_usize, |product, &n| product.checked_mul(n.max(1)));
        product.map(|product| if self.contains(&0) { 0 } else { product })
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

    #[test]
    #[should_panic(expected = "shape [4294967296, 0, 4294967296] has more elements than can be")]
    fn lengths_whose_product_wraps_are_refused_even_beside_a_zero() {
        Shape::from([1 << 32, 0, 1 << 32]).elements();
    }
}
