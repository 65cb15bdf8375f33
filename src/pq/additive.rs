//! Additive groups: a row is the mean of its D codewords, each as wide as the row.
//!
//! The mean is the sum in the order of the groups, over D: those very operations, so that every reader
//! of a compact table gets the bits that training saw.

use crate::parallel;
use crate::real::Real;
use crate::tape::{Context, Op, Var};

/// Rows of a piece of work.
const CHUNK: usize = 64;

/// y <- (x\[0\] + x\[1\] + ...) / D of the D parts that x is cut into.
#[inline(always)]
pub(super) fn average<'a, T: Real>(
    mut parts: impl Iterator<Item = &'a [T]>,
    groups: usize,
    y: &mut [T],
) {
    y.copy_from_slice(parts.next().expect("at least one group"));
    for part in parts {
        y.iter_mut().zip(part).for_each(|(y, x)| *y += *x);
    }
    divide(y, groups);
}

/// The sum of D codewords <- their mean.
#[inline(always)]
pub(super) fn divide<T: Real>(sum: &mut [T], groups: usize) {
    let groups = T::from_usize(groups);
    sum.iter_mut().for_each(|x| *x /= groups);
}

/// y\[i\] = mean over g of x\[i, g\], for rows of D parts: n x D d to n x d
pub(super) fn mean_of_groups<T: Real>(x: Var<'_, T>, groups: usize) -> Var<'_, T> {
    let (tape, value) = (x.tape(), x.value());
    let [n, width] = [value.shape()[0], value.shape()[1]];
    let d = width / groups;
    let mut y = tape.uninit([n, d]);
    parallel::for_each_chunk(y.data_mut(), CHUNK * d, |i, y| {
        let rows = value.data()[i * CHUNK * width..].chunks_exact(width);
        for (y, row) in y.chunks_exact_mut(d).zip(rows) {
            average(row.chunks_exact(d), groups, y);
        }
    });
    let [y] = tape.record(MeanOfGroups { groups }, &[x], [y]);
    y
}

struct MeanOfGroups {
    groups: usize,
}
impl<T: Real> Op<T> for MeanOfGroups {
    fn backward(&self, ctx: &mut Context<'_, T>) {
        // dx[i, g] = dy[i] / D
        let Some(dy) = ctx.output_grad(0) else { return };
        let (d, groups) = (dy.shape()[1], T::from_usize(self.groups));
        let mut dx = ctx.uninit(ctx.input(0).shape());
        parallel::for_each_chunk(dx.data_mut(), CHUNK * d * self.groups, |i, dx| {
            let rows = dy.data()[i * CHUNK * d..].chunks_exact(d);
            for (dx, dy) in dx.chunks_exact_mut(d * self.groups).zip(rows) {
                for dx in dx.chunks_exact_mut(d) {
                    dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy / groups);
                }
            }
        });
        ctx.add(0, dx);
    }
}

#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> {
    use crate::gradcheck;
    use crate::strategies::{Case, tensor};
    use proptest::prelude::*;

    let inputs = (0..5_usize, 1..5_usize, 1..5_usize)
        .prop_flat_map(|(n, groups, d)| (Just(groups), tensor([n, groups * d])));
    vec![Case::new("mean of groups", inputs, |(groups, x)| {
        gradcheck([x], |[x]| mean_of_groups(x, groups))
    })]
}
