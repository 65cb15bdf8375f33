//! Tensors: a shape and one shared, contiguous, row-major buffer.

use super::pool::Buffer;
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::real::{Real, assert_held};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use std::fmt;
use std::sync::Arc;

/// A dense array of real numbers.
///
/// ```
/// use dpq::Tensor;
/// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(&x.shape()[..], &[2, 2]);
/// assert_eq!(format!("{x:?}"), "[[1.0, 2.0], [3.0, 4.0]], shape=[2, 2]");
/// assert!(Tensor::new([2, 3], vec![0.0_f32; 5]).is_err());
/// ```
#[derive(Clone)]
pub struct Tensor<T: Real> {
    shape: Shape,
    buffer: Arc<Buffer<T>>,
}

impl<T: Real> Tensor<T> {
    /// The tensor with this shape and these elements, last axis fastest.
    ///
    /// # Errors
    /// [`Error::Shape`] if their number is not the shape's.
    pub fn new(shape: impl Into<Shape>, data: Vec<T>) -> Result<Self> {
        let shape = shape.into();
        if shape.checked_elements() != Some(data.len()) {
            return Err(Error::Shape { shape: shape.to_vec(), elements: data.len() });
        }
        Ok(Self::from_buffer(shape, data.into()))
    }

    /// The tensor that has `buffer` for its elements.
    ///
    /// # Panics
    /// If the buffer's length is not the shape's number of elements.
    #[track_caller]
    pub fn from_buffer(shape: impl Into<Shape>, buffer: Buffer<T>) -> Self {
        let shape = shape.into();
        assert_eq!(shape.elements(), buffer.len(), "elements of shape {shape:?}");
        Tensor { shape, buffer: Arc::new(buffer) }
    }

    /// All elements `value`.
    ///
    /// # Panics
    /// If they do not fit into memory.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: T) -> Self {
        let shape = shape.into();
        assert_room::<T>(shape);
        Self::from_buffer(shape, vec![value; shape.elements()].into())
    }

    /// All elements 0.
    ///
    /// # Panics
    /// If they do not fit into memory.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        Self::full(shape, T::ZERO)
    }

    /// One element, no axes.
    pub fn scalar(value: T) -> Self {
        Self::full([], value)
    }

    /// Element i (counted row-major) is `f(i)`.
    ///
    /// # Panics
    /// If they do not fit into memory.
    #[track_caller]
    pub fn from_fn(shape: impl Into<Shape>, f: impl FnMut(usize) -> T) -> Self {
        let shape = shape.into();
        assert_room::<T>(shape);
        Self::from_buffer(shape, (0..shape.elements()).map(f).collect::<Vec<T>>().into())
    }

    /// Elements drawn uniformly from +-`bound`.
    ///
    /// # Panics
    /// If the bound is negative or not finite, or the precision makes it 0, or the elements do not fit into memory.
    #[track_caller]
    pub fn uniform(shape: impl Into<Shape>, bound: f64, rng: &mut impl Rng) -> Self {
        assert_held::<T>(&format!("uniform: bound {bound:?}"), bound);
        let mut draw = || (rng.next_u64() >> 11) as f64 * (-53_f64).exp2();
        Self::from_fn(shape, |_| T::from_f64(bound * (2.0 * draw() - 1.0)))
    }

    /// Elements drawn from the normal distribution with mean 0 and standard deviation `deviation`.
    ///
    /// # Panics
    /// If the deviation is negative or not finite, or the precision makes it 0, or the elements do not fit into memory.
    #[track_caller]
    pub fn normal(shape: impl Into<Shape>, deviation: f64, rng: &mut impl Rng) -> Self {
        assert_held::<T>(&format!("normal: deviation {deviation:?}"), deviation);
        Self::from_fn(shape, |_| T::from_f64(deviation * rng.sample::<f64, _>(StandardNormal)))
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[T] {
        &self.buffer
    }

    /// The elements to write to; copies them first if another tensor shares them.
    pub fn data_mut(&mut self) -> &mut [T] {
        let buffer: &mut Buffer<T> = Arc::make_mut(&mut self.buffer);
        buffer
    }

    /// The elements to write to, or `None` if another tensor shares them.
    pub fn unique_mut(&mut self) -> Option<&mut [T]> {
        Arc::get_mut(&mut self.buffer).map(|buffer| &mut **buffer)
    }

    /// The same elements in a buffer of their own.
    pub fn deep_copy(&self) -> Self {
        Self::from_buffer(self.shape, self.data().to_vec().into())
    }

    /// The only element.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn item(&self) -> T {
        assert_eq!(self.data().len(), 1, "item of a tensor of shape {:?}", self.shape);
        self.data()[0]
    }

    /// The same elements under another shape.
    ///
    /// # Panics
    /// If the two shapes hold different numbers of elements.
    #[track_caller]
    pub fn reshape(mut self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert_eq!(
            self.shape.elements(),
            shape.elements(),
            "reshape of {:?} to {shape:?}: the numbers of elements",
            self.shape
        );
        self.shape = shape;
        self
    }

    /// The tensor seen as rows along the last axis.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, T> {
        self.data().chunks_exact(self.shape.as_matrix().1.max(1))
    }

    /// The same values in the other precision, each rounded to the nearest.
    pub fn cast<U: Real>(&self) -> Tensor<U> {
        Tensor::from_fn(self.shape, |i| U::from_f64(self.data()[i].to_f64()))
    }

    /// Checks that every element is finite; `what` says what the tensor is.
    pub(crate) fn check_finite(&self, what: impl FnOnce() -> String) -> Result<()> {
        match self.not_finite() {
            Some(bad) => Err(Error::NotFinite { what: what(), value: bad.to_f64() }),
            None => Ok(()),
        }
    }

    /// The first element that is infinite or NaN.
    pub fn not_finite(&self) -> Option<T> {
        self.data().iter().copied().find(|x| !x.is_finite())
    }
}

/// More elements than this are asked for before they are filled, so that a lack of memory is a panic
/// with the shape and not the end of the process.
const MANY: usize = 1 << 28;

#[track_caller]
fn assert_room<T>(shape: Shape) {
    let elements = shape.elements();
    if elements > MANY {
        let room = Vec::<T>::new().try_reserve_exact(elements);
        assert!(room.is_ok(), "a tensor of shape {shape:?} does not fit into memory");
    }
}

impl<T: Real> PartialEq for Tensor<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.data() == other.data()
    }
}

impl<T: Real, const N: usize> From<[T; N]> for Tensor<T> {
    fn from(data: [T; N]) -> Self {
        Self::from_buffer([N], data.to_vec().into())
    }
}

impl<T: Real, const M: usize, const N: usize> From<[[T; N]; M]> for Tensor<T> {
    fn from(data: [[T; N]; M]) -> Self {
        Self::from_buffer([M, N], data.concat().into())
    }
}

impl<T: Real, const L: usize, const M: usize, const N: usize> From<[[[T; N]; M]; L]> for Tensor<T> {
    fn from(data: [[[T; N]; M]; L]) -> Self {
        Self::from_buffer([L, M, N], data.concat().concat().into())
    }
}

impl<T: Real> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        nested(f, &self.shape, self.data())?;
        write!(f, ", shape={:?}", self.shape)
    }
}

/// Brackets within brackets; of more than six entries on an axis the first and last three.
fn nested<T: Real>(f: &mut fmt::Formatter<'_>, lengths: &[usize], data: &[T]) -> fmt::Result {
    let Some((&length, inner)) = lengths.split_first() else {
        return fmt::Debug::fmt(&data[0], f);
    };
    let stride: usize = inner.iter().product();
    f.write_str("[")?;
    for i in (0..length).filter(|i| length <= 6 || *i < 3 || *i >= length - 3) {
        if i > 0 {
            f.write_str(", ")?;
        }
        if length > 6 && i == length - 3 {
            f.write_str("..., ")?;
        }
        nested(f, inner, &data[i * stride..(i + 1) * stride])?;
    }
    f.write_str("]")
}

/// approx's traits: two tensors compare as their elements do, and are different if their shapes are.
#[cfg(feature = "approx")]
mod approximate {
    use super::*;
    use approx::{AbsDiffEq, RelativeEq, UlpsEq};

    fn all<T: Real>(a: &Tensor<T>, b: &Tensor<T>, equal: impl Fn(&T, &T) -> bool) -> bool {
        a.shape() == b.shape() && a.data().iter().zip(b.data()).all(|(a, b)| equal(a, b))
    }

    impl<T: Real + AbsDiffEq<Epsilon: Copy>> AbsDiffEq for Tensor<T> {
        type Epsilon = T::Epsilon;
        fn default_epsilon() -> T::Epsilon {
            T::default_epsilon()
        }
        fn abs_diff_eq(&self, other: &Self, epsilon: T::Epsilon) -> bool {
            all(self, other, |a, b| a.abs_diff_eq(b, epsilon))
        }
    }

    impl<T: Real + RelativeEq<Epsilon: Copy>> RelativeEq for Tensor<T> {
        fn default_max_relative() -> T::Epsilon {
            T::default_max_relative()
        }
        fn relative_eq(&self, other: &Self, epsilon: T::Epsilon, max_relative: T::Epsilon) -> bool {
            all(self, other, |a, b| a.relative_eq(b, epsilon, max_relative))
        }
    }

    impl<T: Real + UlpsEq<Epsilon: Copy>> UlpsEq for Tensor<T> {
        fn default_max_ulps() -> u32 {
            T::default_max_ulps()
        }
        fn ulps_eq(&self, other: &Self, epsilon: T::Epsilon, max_ulps: u32) -> bool {
            all(self, other, |a, b| a.ulps_eq(b, epsilon, max_ulps))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_to_a_shared_buffer_copies_first() {
        let mut a = Tensor::from([1.0_f32, 2.0]);
        let b = a.clone();
        assert!(a.unique_mut().is_none());
        a.data_mut()[0] = 5.0;
        assert_eq!(b.data(), [1.0, 2.0]);
        assert_eq!(a.data(), [5.0, 2.0]);
        assert!(a.unique_mut().is_some());
    }

    #[test]
    fn debug_prints_scalars_empty_axes_and_long_axes() {
        assert_eq!(format!("{:?}", Tensor::scalar(2.5_f64)), "2.5, shape=[]");
        assert_eq!(format!("{:?}", Tensor::<f32>::zeros([2, 0])), "[[], []], shape=[2, 0]");
        let long = Tensor::from_fn([8], |i| i as f32);
        assert_eq!(format!("{long:?}"), "[0.0, 1.0, 2.0, ..., 5.0, 6.0, 7.0], shape=[8]");
    }

    #[test]
    fn rows_are_along_the_last_axis() {
        assert_eq!(Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]).rows().nth(1), Some(&[3.0, 4.0][..]));
    }
}
