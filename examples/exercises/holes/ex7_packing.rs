//! Exercise 7: packing codes. Guide: export.
//!
//! Every code has the same number of bits, 1 to 16. Write them one after the other without gaps, the lowest
//! bit of a code first, and fill each byte from its lowest bit. What is left of the last byte is 0.
//!
//! ```text
//! bits 3:  codes 5 = 101, 1 = 001, 6 = 110   ->   10 001 101  and  0000000 1, the lowest bit on the right
//! ```
//!
//! Hint: bit b of code c is bit (c bits + b) of all. In which byte is that, and where in it?

use super::unsolved;

pub fn pack(codes: &[u32], bits: usize) -> Vec<u8> {
    unsolved((codes, bits))
}
