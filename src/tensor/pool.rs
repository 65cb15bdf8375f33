//! Large buffers that are used again, and the buffers themselves.

use crate::real::Element;
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};

/// Buffers of at most this many bytes are left to the allocator.
const SMALL: usize = 4096;

/// Large buffers that are free to be used again.
#[derive(Debug)]
pub struct Pool<E: Element> {
    free: Arc<Mutex<Vec<Vec<E>>>>,
}

impl<E: Element> Default for Pool<E> {
    fn default() -> Self {
        Pool { free: Arc::new(Mutex::new(Vec::with_capacity(SMALL / size_of::<Vec<E>>()))) }
    }
}

impl<E: Element> Pool<E> {
    /// A buffer of `len` elements with unspecified contents (poison in debug builds).
    ///
    /// Reuses the buffer of the same size class that was returned last, or allocates one. Work that
    /// is repeated finds all its buffers from the second time on.
    pub fn take(&self, len: usize) -> Buffer<E> {
        if len * size_of::<E>() <= SMALL {
            return Buffer { data: vec![E::default(); len], len, home: Weak::new() };
        }
        let size = size_class(len);
        let mut free = self.free.lock().expect("no owner of a pool panics");
        let mut data = match free.iter().rposition(|free| free.len() == size) {
            Some(i) => free.swap_remove(i),
            None => vec![E::default(); size],
        };
        if cfg!(debug_assertions) {
            data.fill(E::POISON);
        }
        Buffer { data, len, home: Arc::downgrade(&self.free) }
    }
}

/// `len` rounded up to 5, 6, 7 or 8 eighths of a power of two.
fn size_class(len: usize) -> usize {
    len.next_multiple_of(len.next_power_of_two() / 8)
}

/// A slice of elements that returns to the pool it came from when it is dropped.
#[derive(Debug)]
pub struct Buffer<E: Element> {
    /// Initialised to its full length, of which the first `len` count.
    data: Vec<E>,
    len: usize,
    home: Weak<Mutex<Vec<Vec<E>>>>,
}

impl<E: Element> Buffer<E> {
    /// Keeps only the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl<E: Element> From<Vec<E>> for Buffer<E> {
    fn from(data: Vec<E>) -> Self {
        Buffer { len: data.len(), data, home: Weak::new() }
    }
}

impl<E: Element> Clone for Buffer<E> {
    fn clone(&self) -> Self {
        Buffer::from(self.to_vec())
    }
}

impl<E: Element> Deref for Buffer<E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        &self.data[..self.len]
    }
}

impl<E: Element> std::ops::DerefMut for Buffer<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.data[..self.len]
    }
}

impl<E: Element> Drop for Buffer<E> {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade()
            && let Ok(mut free) = home.lock()
        {
            free.push(std::mem::take(&mut self.data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_returns_to_its_pool_and_a_small_one_does_not() {
        let pool = Pool::<f32>::default();
        let first = pool.take(5000);
        let address = first.as_ptr();
        drop(first);
        let again = pool.take(4900);
        assert_eq!(again.as_ptr(), address);
        assert_eq!(again.len(), 4900);
        drop(again);
        drop(pool.take(10));
        assert_eq!(pool.free.lock().unwrap().len(), 1);
        assert_ne!(pool.take(4000).as_ptr(), address, "a buffer of another class");
    }
}
