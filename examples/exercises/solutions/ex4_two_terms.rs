//! Solution of exercise 4: VQ's two terms.

use crate::case::{Codebooks, Codes, D, K, N, Rows, S};

pub fn gradients(q: &Rows, c: &Codebooks, codes: &Codes, beta: f64) -> (Rows, Codebooks) {
    let mut dq = [[[0.0; S]; D]; N];
    let mut dc = [[[0.0; S]; K]; D];
    let elements = (N * D * S) as f64;
    for i in 0..N {
        for g in 0..D {
            let j = codes[i][g];
            for t in 0..S {
                let apart = 2.0 * (c[g][j][t] - q[i][g][t]) / elements;
                dc[g][j][t] += apart;
                dq[i][g][t] = -beta * apart;
            }
        }
    }
    (dq, dc)
}
