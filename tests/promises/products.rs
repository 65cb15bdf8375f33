//! Matrix products are those of the crate matrixmultiply: in both precisions, with either side
//! transposed, for every remainder of a tile.
#![cfg(feature = "approx")]

use approx::assert_abs_diff_eq;
use dpq::{Real, Tape, Tensor};
use proptest::prelude::*;

/// What matrixmultiply offers for one precision.
trait Oracle: Real + approx::AbsDiffEq<Epsilon = Self> {
    /// c <- a b for a m x k and b k x n, each with the strides of its rows and columns; c row-major.
    fn multiply(
        size: [usize; 3],
        a: (&[Self], [isize; 2]),
        b: (&[Self], [isize; 2]),
        c: &mut [Self],
    );
}

macro_rules! oracle {
    ($real:ty, $gemm:path) => {
        impl Oracle for $real {
            fn multiply(
                [m, k, n]: [usize; 3],
                (a, [ra, ca]): (&[$real], [isize; 2]),
                (b, [rb, cb]): (&[$real], [isize; 2]),
                c: &mut [$real],
            ) {
                assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
                // SAFETY: the strides are those of matrices that fill the three slices.
                unsafe {
                    $gemm(
                        m,
                        k,
                        n,
                        1.0,
                        a.as_ptr(),
                        ra,
                        ca,
                        b.as_ptr(),
                        rb,
                        cb,
                        0.0,
                        c.as_mut_ptr(),
                        n as isize,
                        1,
                    );
                }
            }
        }
    };
}
oracle!(f32, matrixmultiply::sgemm);
oracle!(f64, matrixmultiply::dgemm);

/// The strides of a rows x columns matrix that is stored row by row, or of one whose transpose is.
fn strides(rows: usize, columns: usize, transposed: bool) -> [isize; 2] {
    if transposed { [1, rows as isize] } else { [columns as isize, 1] }
}

fn compare<T: Oracle>([m, k, n]: [usize; 3], [left, right]: [bool; 2], seed: u64, tolerance: f64) {
    let draw = |name, shape: [usize; 2]| {
        Tensor::<T>::uniform(shape, 1.0, &mut dpq::rng::stream(seed, name, 0))
    };
    let a = draw("a", if left { [k, m] } else { [m, k] });
    let b = draw("b", if right { [n, k] } else { [k, n] });
    let tape = Tape::new();
    let (x, w) = (tape.constant(a.clone()), tape.constant(b.clone()));
    let found = match (left, right) {
        (false, false) => x.matmul(w),
        (false, true) => x.matmul_t(w),
        (true, false) => x.t_matmul(w),
        (true, true) => x.t_matmul_t(w),
    };
    let mut expected = Tensor::zeros([m, n]);
    let a = (a.data(), strides(m, k, left));
    let b = (b.data(), strides(k, n, right));
    T::multiply([m, k, n], a, b, expected.data_mut());
    // Sums of k products of at most 1: rounding grows with k.
    let epsilon = T::from_f64(tolerance * (k.max(1) as f64));
    assert_abs_diff_eq!(found.value(), expected, epsilon = epsilon);
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..10_usize, 10..70_usize, 500..530_usize]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn all_four_products_are_those_of_matrixmultiply(
        size in [length(), length(), length()],
        transposed in any::<[bool; 2]>(),
        seed in 0..1000_u64,
    ) {
        compare::<f32>(size, transposed, seed, 1e-6);
        compare::<f64>(size, transposed, seed, 1e-15);
    }
}
