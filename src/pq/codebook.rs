//! Codebooks: their sizes, which one serves a group, and a codebook as the kernels read it.

use crate::kernels::dispatch::dispatch;
use crate::kernels::transpose::transpose;
use crate::parallel;
use crate::real::Real;
use crate::tensor::{Buffer, Pool, Shape, Tensor};
use fearless_simd::Simd;
use std::ops::Range;

/// The sizes of codebooks G x K x s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    /// G: one for each group, or one for all.
    pub(crate) books: usize,
    /// K
    pub(crate) size: usize,
    /// s
    pub(crate) width: usize,
}

impl Sizes {
    /// Of codebooks of this shape.
    ///
    /// # Panics
    /// If it has not three axes.
    #[track_caller]
    pub(crate) fn of(shape: Shape) -> Sizes {
        let [books, size, width] = shape[..] else {
            panic!("codebook of shape {shape:?}, not G x K x s")
        };
        Sizes { books, size, width }
    }

    /// Which codebook serves group g.
    #[inline(always)]
    pub(crate) fn book(self, g: usize) -> usize {
        if self.books == 1 { 0 } else { g }
    }

    /// From the first codeword of a group to that of the next, among all G K.
    #[inline(always)]
    pub(crate) fn stride(self) -> usize {
        self.book(1) * self.size
    }

    /// Which one of all G K codewords code j of group g is.
    #[inline(always)]
    pub(crate) fn codeword(self, g: usize, j: usize) -> usize {
        self.book(g) * self.size + j
    }

    /// The elements of the codebook that serves group g, among all G K s.
    #[inline(always)]
    pub(crate) fn elements_of(self, g: usize) -> Range<usize> {
        let book = self.size * self.width;
        self.book(g) * book..(self.book(g) + 1) * book
    }

    /// G K s
    pub(crate) fn elements(self) -> usize {
        self.books * self.size * self.width
    }
}

/// Codebooks transposed, G x s x K: the t-th elements of a group's K codewords side by side.
pub(crate) struct Columns<T: Real> {
    pub(crate) sizes: Sizes,
    data: Buffer<T>,
}

impl<T: Real> Columns<T> {
    /// Of codewords G x K x s.
    pub(crate) fn new(pool: &Pool<T>, codewords: &Tensor<T>) -> Self {
        let sizes = Sizes::of(codewords.shape());
        let book = sizes.size * sizes.width;
        let mut data = pool.take(sizes.elements());
        parallel::for_each_chunk(&mut data, book, |i, columns| {
            let codewords = &codewords.data()[i * book..][..book];
            dispatch!(|simd| transpose_book(simd, codewords, sizes, columns));
        });
        Columns { sizes, data }
    }

    /// The codewords of group g, s x K.
    #[inline(always)]
    pub(crate) fn of(&self, g: usize) -> &[T] {
        &self.data[self.sizes.elements_of(g)]
    }

    /// The first codebooks, one after the other, to write to.
    pub(crate) fn data_mut(&mut self, books: usize) -> &mut [T] {
        &mut self.data[..books * self.sizes.size * self.sizes.width]
    }
}

#[inline(always)]
fn transpose_book<S: Simd, T: Real>(simd: S, codewords: &[T], sizes: Sizes, columns: &mut [T]) {
    transpose(
        simd,
        sizes.size,
        #[inline(always)]
        |j| &codewords[j * sizes.width..][..sizes.width],
        columns,
        sizes.size,
    );
}
