//! Where the elements of a result stand in the tensors that it is made of, axis by axis.

use crate::tensor::Shape;

/// An axis of a result that is made of `N` tensors, or neighbouring axes that act as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis<const N: usize> {
    /// How many places it has.
    pub(super) length: usize,
    /// How far apart neighbouring places are in each of the tensors; 0 in one that is repeated.
    pub(super) steps: [usize; N],
}

/// The axes with as few as possible: neighbours through which every tensor goes in equal steps
/// become one, and those of length 1 vanish. Innermost first, as they are given.
pub(super) fn merged<const N: usize>(axes: impl Iterator<Item = Axis<N>>) -> Vec<Axis<N>> {
    let mut merged: Vec<Axis<N>> = Vec::new();
    for axis in axes.filter(|axis| axis.length != 1) {
        match merged.last_mut() {
            Some(inner) if axis.steps == inner.steps.map(|step| step * inner.length) => {
                inner.length *= axis.length;
            }
            _ => merged.push(axis),
        }
    }
    merged
}

/// Where place i of the axes, innermost first, is in tensor `tensor`.
#[inline(always)]
pub(super) fn offset<const N: usize>(axes: &[Axis<N>], tensor: usize, mut i: usize) -> usize {
    let Some((outermost, inner)) = axes.split_last() else { return 0 };
    let mut offset = 0;
    for axis in inner {
        offset += i % axis.length * axis.steps[tensor];
        i /= axis.length;
    }
    offset + i * outermost.steps[tensor]
}

/// How far apart neighbouring places of every axis are in a tensor of this shape. An empty axis
/// counts like one of length 1, so that no step is 0.
pub(super) fn steps(shape: Shape) -> [usize; 4] {
    let mut steps = [1; 4];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis].max(1);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_equal_steps_become_one_axis() {
        let shape = Shape::from([2, 3, 1, 5]);
        let axis = |i: usize| Axis { length: shape[i], steps: [steps(shape)[i]] };
        assert_eq!(merged((0..4).rev().map(axis)), [Axis { length: 30, steps: [1] }]);
        let swapped = merged([1, 3, 2, 0].into_iter().map(axis));
        let expected =
            [(3, 5), (5, 1), (2, 15)].map(|(length, step)| Axis { length, steps: [step] });
        assert_eq!(swapped, expected);
        assert_eq!(offset(&swapped, 0, 1 + 3 * (2 + 5)), 5 + 2 + 15);
    }
}
