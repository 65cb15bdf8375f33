//! Solution of exercise 1: what the values learn.

use crate::case::{Codebooks, Codes, D, K, N, Rows, S};

pub fn dvalues(codes: &Codes, dy: &Rows) -> Codebooks {
    let mut dvalues = [[[0.0; S]; K]; D];
    for i in 0..N {
        for g in 0..D {
            for t in 0..S {
                dvalues[g][codes[i][g]][t] += dy[i][g][t];
            }
        }
    }
    dvalues
}
