//! Codes of rows whose parts are means of several codewords: a beam search.

use super::codebook::Sizes;
use crate::gemm::{Matrix, Packed};
use crate::kernels::dispatch::dispatch;
use crate::kernels::elementwise::copy_short;
use crate::kernels::reduce::dot_of_piece;
use crate::kernels::vector::load;
use crate::parallel::{self, Order, Rows, chunks};
use crate::real::Real;
use crate::tensor::{Buffer, Pool, Tensor};
use fearless_simd::{Simd, prelude::*};

/// Scores of a block of rows: they stay in cache.
const SCORES: usize = 1 << 16;

/// Codebooks that are ready to choose codes by.
///
/// With m = D / P groups in a part, x the part of a row, and r = m x, the codes of the part are to make
///
/// ```text
/// || r - C[0,code[0]] - ... - C[m-1,code[m-1]] ||^2
/// ```
///
/// least. Trying all K^m of them is out of the question. Group after group, the `beam` best beginnings
/// are kept, each is continued with all K codewords, and of these the best are kept again; of equals the
/// first. With a beam of 1 every group takes what is nearest to what the groups before it left over.
pub(super) struct Search<'a, T: Real> {
    values: &'a Tensor<T>,
    sizes: Sizes,
    /// D
    groups: usize,
    /// Groups of a part.
    each: usize,
    beam: usize,
    /// Every codebook, transposed.
    books: Vec<Packed<T>>,
    /// The squared lengths of codewords, G x K.
    squares: Vec<T>,
}

impl<'a, T: Real> Search<'a, T> {
    /// For values G x K x s of so many groups, `each` of them to a part.
    pub(super) fn new(values: &'a Tensor<T>, groups: usize, each: usize, beam: usize) -> Self {
        let (sizes, pool) = (Sizes::of(values.shape()), Pool::default());
        let Sizes { size, width, .. } = sizes;
        let books = values.data().chunks_exact(size * width);
        let books = books.map(|book| Packed::new(&pool, Matrix::new(book, size, width).t()));
        let square = |c: &[T]| dispatch!(|simd| dot_of_piece(simd, c, c));
        let squares = values.data().chunks_exact(width).map(square).collect();
        Search { values, sizes, groups, each, beam, books: books.collect(), squares }
    }

    /// The codes of rows of width P s, D a row.
    pub(super) fn codes(&self, rows: &[T], codes: &mut [u32]) {
        let groups = self.groups;
        let width = groups / self.each * self.sizes.width;
        let block = (SCORES / (self.beam * self.sizes.size)).max(1);
        let pool = Pool::default();
        let work = (Rows::new(rows.len() / width, block), chunks(codes, block * groups));
        parallel::for_each(Order::Forward, work, |_, (of_block, codes)| {
            let rows = &rows[of_block.start * width..of_block.end * width];
            let mut beams = Beams::new(&pool, self, of_block.len());
            for part in 0..groups / self.each {
                beams.start(self, rows, part);
                for g in part * self.each..(part + 1) * self.each {
                    beams.extend(&pool, self, g);
                }
                for (row, codes) in codes.chunks_exact_mut(groups).enumerate() {
                    let found = &beams.codes[row * self.each..][..self.each];
                    codes[part * self.each..][..self.each].copy_from_slice(found);
                }
            }
        });
    }
}

/// The best beginnings of the codes of some rows.
struct Beams<T: Real> {
    rows: usize,
    /// How many of them every row has.
    count: usize,
    /// How many groups they have codes of.
    length: usize,
    /// What each leaves over of its row, rows x count x s.
    rests: Buffer<T>,
    /// Their codes, rows x count x length.
    codes: Vec<u32>,
    /// Room for the next ones, and for scores.
    next_rests: Buffer<T>,
    next_codes: Vec<u32>,
    scores: Buffer<T>,
}

impl<T: Real> Beams<T> {
    fn new(pool: &Pool<T>, search: &Search<'_, T>, rows: usize) -> Self {
        let Sizes { size, width, .. } = search.sizes;
        let most = rows * search.beam;
        Beams {
            rows,
            count: 1,
            length: 0,
            rests: pool.take(most * width),
            codes: Vec::with_capacity(most * search.each),
            next_rests: pool.take(most * width),
            next_codes: Vec::with_capacity(most * search.each),
            scores: pool.take(most * size),
        }
    }

    /// Nothing is chosen yet for a part: all of m x is left over.
    fn start(&mut self, search: &Search<'_, T>, rows: &[T], part: usize) {
        let (s, width) = (search.sizes.width, rows.len() / self.rows);
        let times = T::from_usize(search.each);
        (self.count, self.length) = (1, 0);
        self.codes.clear();
        for (rest, row) in self.rests.chunks_exact_mut(s).zip(rows.chunks_exact(width)) {
            let part = &row[part * s..][..s];
            rest.iter_mut().zip(part).for_each(|(rest, &x)| *rest = times * x);
        }
    }

    /// Goes on to group g.
    fn extend(&mut self, pool: &Pool<T>, search: &Search<'_, T>, g: usize) {
        let Sizes { size: k, width: s, .. } = search.sizes;
        let (rows, count) = (self.rows, self.count);
        let last = self.length + 1 == search.each;
        let kept = if last { 1 } else { search.beam.min(count * k) };
        let rests = &self.rests[..rows * count * s];
        let scores = &mut self.scores[..rows * count * k];
        search.books[search.sizes.book(g)].multiply(
            pool,
            Matrix::new(rests, rows * count, s),
            scores,
            false,
        );

        let first = search.sizes.codeword(g, 0);
        let squares = &search.squares[first..][..k];
        let codewords = &search.values.data()[first * s..][..k * s];
        let mut best = vec![(T::ZERO, 0); kept];
        self.next_codes.clear();
        for row in 0..rows {
            let rests = &rests[row * count * s..][..count * s];
            let scores = &scores[row * count * k..][..count * k];
            best.fill((T::ONE / T::ZERO, 0));
            dispatch!(|simd| nearest(simd, rests, squares, scores, &mut best));
            for (i, &(_, at)) in best.iter().enumerate() {
                let (from, code) = (at / k, at % k);
                let next = &mut self.next_rests[(row * kept + i) * s..][..s];
                copy_short(&rests[from * s..][..s], next);
                next.iter_mut().zip(&codewords[code * s..]).for_each(|(x, &c)| *x -= c);
                let before = &self.codes[(row * count + from) * self.length..][..self.length];
                self.next_codes.extend_from_slice(before);
                self.next_codes.push(code as u32);
            }
        }
        (self.count, self.length) = (kept, self.length + 1);
        std::mem::swap(&mut self.rests, &mut self.next_rests);
        std::mem::swap(&mut self.codes, &mut self.next_codes);
    }
}

/// The continuations of the beginnings of a row whose squared errors are least, in order, each with its
/// place among the `scores`: the products of what is left over, one row a beginning, and the codewords.
#[inline(always)]
fn nearest<S: Simd, T: Real>(
    simd: S,
    rests: &[T],
    squares: &[T],
    scores: &[T],
    best: &mut [(T, usize)],
) {
    let (k, infinity) = (squares.len(), T::ONE / T::ZERO);
    let s = rests.len() / (scores.len() / k);
    let two = T::Wide::<S>::splat(simd, T::ONE + T::ONE);
    let mut worst = T::Wide::<S>::splat(simd, infinity);
    for (i, (rest, scores)) in rests.chunks_exact(s).zip(scores.chunks_exact(k)).enumerate() {
        let left = T::Wide::<S>::splat(simd, dot_of_piece(simd, rest, rest));
        for at in (0..k).step_by(T::LANES) {
            // || r - c ||^2
            let square = load::<S, T>(simd, squares, at, infinity);
            let error = left + square - two * load::<S, T>(simd, scores, at, T::ZERO);
            if error.simd_lt(worst).to_bitmask() == 0 {
                continue;
            }
            for (j, &error) in error.as_slice().iter().enumerate() {
                insert(best, (error, i * k + at + j));
            }
            worst = T::Wide::<S>::splat(simd, best[best.len() - 1].0);
        }
    }
}

/// Puts a candidate at its place among the best, if it belongs there; of equals the first stays first.
fn insert<T: Real>(best: &mut [(T, usize)], candidate: (T, usize)) {
    let mut at = best.len();
    while at > 0 && candidate.0 < best[at - 1].0 {
        at -= 1;
    }
    if at < best.len() {
        best[at..].rotate_right(1);
        best[at] = candidate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::with_threads;
    use proptest::prelude::*;

    /// Rows n x P s, values P m x K s, and m.
    fn problems() -> impl Strategy<Value = (Tensor<f64>, Tensor<f64>, usize)> {
        let sizes = (1..6_usize, 1..4_usize, 1..4_usize, 2..6_usize, 1..4_usize);
        sizes.prop_flat_map(|(n, parts, each, k, s)| {
            let numbers = |count| proptest::collection::vec(-1.0..1.0, count);
            (numbers(n * parts * s), numbers(parts * each * k * s)).prop_map(move |(x, c)| {
                let rows = Tensor::from_fn([n, parts * s], |i| x[i]);
                (rows, Tensor::from_fn([parts * each, k, s], |i| c[i]), each)
            })
        })
    }

    fn found(rows: &Tensor<f64>, values: &Tensor<f64>, each: usize, beam: usize) -> Vec<u32> {
        let mut codes = vec![u32::MAX; rows.shape()[0] * values.shape()[0]];
        Search::new(values, values.shape()[0], each, beam).codes(rows.data(), &mut codes);
        codes
    }

    /// || m x - the sum of the codewords ||^2 of a part of a row.
    fn error(x: &[f64], values: &Tensor<f64>, first: usize, codes: &[u32]) -> f64 {
        let [_, k, s] = values.shape()[..] else { panic!("D x K x s") };
        let sum = |t: usize| -> f64 {
            let of = |(g, &code): (usize, &u32)| {
                values.data()[((first + g) * k + code as usize) * s + t]
            };
            codes.iter().enumerate().map(of).sum()
        };
        (0..s).map(|t| (codes.len() as f64 * x[t] - sum(t)).powi(2)).sum()
    }

    /// All K^m codes of a part.
    fn all(each: usize, k: usize) -> Vec<Vec<u32>> {
        (0..k.pow(each as u32))
            .map(|i| (0..each as u32).map(|g| (i / k.pow(g) % k) as u32).collect())
            .collect()
    }

    proptest! {
        #[test]
        fn a_beam_of_everything_finds_the_best_codes((rows, values, each) in problems()) {
            let [groups, k, s] = values.shape()[..] else { panic!("D x K x s") };
            let codes = found(&rows, &values, each, k.pow(each as u32));
            for (row, codes) in rows.rows().zip(codes.chunks(groups)) {
                for (part, codes) in codes.chunks(each).enumerate() {
                    let error = |codes: &[u32]| error(&row[part * s..], &values, part * each, codes);
                    let best = all(each, k).iter().map(|codes| error(codes)).fold(f64::MAX, f64::min);
                    prop_assert!(error(codes) <= best + 1e-12);
                }
            }
        }

        /// A beam of 1 takes the nearest codeword of what is left over.
        #[test]
        fn a_beam_of_one_is_greedy((rows, values, each) in problems()) {
            let [groups, k, s] = values.shape()[..] else { panic!("D x K x s") };
            let codes = found(&rows, &values, each, 1);
            for (row, codes) in rows.rows().zip(codes.chunks(groups)) {
                for (part, codes) in codes.chunks(each).enumerate() {
                    let mut rest: Vec<f64> = row[part * s..][..s].iter().map(|x| each as f64 * x).collect();
                    for (g, &code) in codes.iter().enumerate() {
                        let codeword = |j: usize| &values.data()[((part * each + g) * k + j) * s..][..s];
                        let off = |j: usize| -> f64 {
                            rest.iter().zip(codeword(j)).map(|(x, c)| (x - c).powi(2)).sum()
                        };
                        let least = (0..k).map(off).fold(f64::MAX, f64::min);
                        prop_assert!(off(code as usize) <= least + 1e-12);
                        let chosen = codeword(code as usize).to_vec();
                        rest.iter_mut().zip(chosen).for_each(|(x, c)| *x -= c);
                    }
                }
            }
        }
    }

    #[test]
    fn codes_do_not_depend_on_threads_and_on_other_rows() {
        let rows = Tensor::from_fn([3000, 4], |i| (i as f32 * 0.37).sin());
        let values = Tensor::from_fn([6, 40, 2], |i| (i as f32 * 1.7).sin());
        let search = Search::new(&values, 6, 3, 5);
        let run = |threads| {
            let mut codes = vec![0; 3000 * 6];
            with_threads(threads, || search.codes(rows.data(), &mut codes));
            codes
        };
        let one = run(1);
        assert_eq!(one, run(3));
        for row in [0, 1234, 2999] {
            let mut alone = vec![0; 6];
            search.codes(&rows.data()[row * 4..][..4], &mut alone);
            assert_eq!(alone, one[row * 6..][..6]);
        }
    }
}
