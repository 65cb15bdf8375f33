//! What the two examples by hand share: sums, tables of numbers, their printing and comparison.

use dpq::Tensor;
use std::array::from_fn;

/// Numbers with three indices, such as token, group and codeword.
pub type Table<const A: usize, const B: usize, const C: usize> = [[[f64; C]; B]; A];

/// Tokens.
pub const N: usize = 3;
/// Groups.
pub const D: usize = 2;
/// Codewords of a group.
pub const K: usize = 4;
/// Width of a group.
pub const S: usize = 2;

/// f(0) + f(1) + ... + f(n - 1)
pub fn sum(n: usize, f: impl Fn(usize) -> f64) -> f64 {
    (0..n).map(f).sum()
}

/// The mean of f(i, g) over all tokens i and groups g.
pub fn mean(f: impl Fn(usize, usize) -> f64) -> f64 {
    sum(N, |i| sum(D, |g| f(i, g))) / (N * D) as f64
}

/// x[a][b][c] = f(a, b, c)
pub fn table<const A: usize, const B: usize, const C: usize>(
    f: impl Fn(usize, usize, usize) -> f64,
) -> Table<A, B, C> {
    from_fn(|a| from_fn(|b| from_fn(|c| f(a, b, c))))
}

/// The largest of the numbers, the first of equal ones: its place.
pub fn argmax(x: &[f64]) -> usize {
    (0..x.len()).fold(0, |best, j| if x[j] > x[best] { j } else { best })
}

/// Prints a formula and its numbers, one line for each `row`, bars between the next index.
pub fn show<const A: usize, const B: usize, const C: usize>(
    formula: &str,
    row: &str,
    x: &Table<A, B, C>,
) {
    println!("{formula}");
    for (a, x) in x.iter().enumerate() {
        let parts: Vec<String> = x.iter().map(|x| numbers(x)).collect();
        println!("    {row} {a}  {}", parts.join("  |"));
    }
}

/// Prints a formula and numbers with one index.
pub fn show_row(formula: &str, x: &[f64]) {
    println!("{formula}\n            {}", numbers(x));
}

fn numbers(x: &[f64]) -> String {
    // No minus sign before a rounding to 0.
    x.iter().map(|&x| format!("{:9.4}", if x.abs() < 5e-5 { 0.0 } else { x })).collect()
}

/// The tensor with the table's numbers, in another shape.
pub fn tensor<const A: usize, const B: usize, const C: usize, const M: usize>(
    x: &Table<A, B, C>,
    shape: [usize; M],
) -> Tensor<f64> {
    Tensor::from(*x).reshape(shape)
}

/// Asserts that a tensor's numbers are those computed by hand, and prints how far they are apart.
pub fn agree<const A: usize, const B: usize, const C: usize>(
    what: &str,
    by_hand: &Table<A, B, C>,
    found: &Tensor<f64>,
) {
    let by_hand = by_hand.as_flattened().as_flattened();
    assert_eq!(by_hand.len(), found.data().len(), "{what}");
    let apart = by_hand.iter().zip(found.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("    {what:<28} {apart:.1e}");
    assert!(apart < 1e-12, "{what}: by hand {by_hand:.6?}, but {found:?}");
}
