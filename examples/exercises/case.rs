//! The three tokens, two groups and four codewords of all exercises: those of `04_sx_by_hand`.

use dpq::Var;

/// Tokens.
pub const N: usize = 3;
/// Groups.
pub const D: usize = 2;
/// Codewords of a group.
pub const K: usize = 4;
/// Width of a group.
pub const S: usize = 2;

/// A code for every token i and group g: `codes[i][g]`.
pub type Codes = [[usize; D]; N];
/// Queries, rows, or their gradients: `q[i][g][t]`, t below S.
pub type Rows = [[[f64; S]; D]; N];
/// Scores, or what is made of them: `rh[i][g][j]`.
pub type Scores = [[[f64; K]; D]; N];
/// Codewords, a codebook for each group, or their gradients: `c[g][j][t]`.
pub type Codebooks = [[[f64; S]; K]; D];

pub const Q: Rows =
    [[[0.9, -0.4], [0.3, 0.8]], [[-0.6, 0.5], [1.1, -0.2]], [[0.2, 1.0], [-0.7, -0.9]]];
pub const KEYS: Codebooks = [
    [[0.8, 0.1], [-0.5, 0.7], [0.3, -0.9], [-0.2, -0.4]],
    [[0.6, 0.6], [-0.8, 0.2], [0.1, -0.7], [0.4, 0.9]],
];
pub const VALUES: Codebooks = [
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]],
    [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]],
];
pub const DY: Rows =
    [[[-1.6, -0.2], [0.4, -1.4]], [[0.3, 0.6], [-0.2, 1.1]], [[-0.2, 0.2], [0.4, -0.4]]];
pub const TAU: f64 = 0.5;
pub const BETA: f64 = 0.25;

/// A distinct id of the batch, how many tokens have it, and the sum of their dy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distinct {
    pub id: u32,
    pub count: usize,
    pub dy: [[f64; S]; D],
}

/// What may happen to two tokens of one id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Situation {
    /// Nothing but dy differs between them.
    Plain,
    /// Every token draws its code from its p.
    CodesAreSampled,
    /// Elements of every token's query are dropped at random before the code is chosen.
    QueriesAreDropped,
    /// Elements of every token's row y are dropped at random.
    RowsAreDropped,
    /// Queries are computed from a token's neighbours.
    QueriesFromContext,
}

/// The answers to all exercises.
pub struct Answers {
    pub values: fn(&Codes, &Rows) -> Codebooks,
    pub softmax: fn(&Scores, &Scores, f64) -> Scores,
    pub straight_through: for<'t> fn(Var<'t, f64>, Var<'t, f64>) -> Var<'t, f64>,
    pub two_terms: fn(&Rows, &Codebooks, &Codes, f64) -> (Rows, Codebooks),
    pub batch_norm: fn(&Scores, &Scores, &[f64; K]) -> Scores,
    pub repeated_ids: fn(&[u32; N], &Rows) -> Vec<Distinct>,
    pub packing: fn(&[u32], usize) -> Vec<u8>,
    pub sharing: fn(Situation) -> Option<bool>,
}
