//! Exercise 7: packing codes. Guide: export has the size; the layout is described here.
//!
//! Every code has the same number of bits, 1 to 16. Write them one after the other without gaps, the lowest
//! bit of a code first, and fill each byte from its lowest bit. What is left of the last byte is 0.
//!
//! ```text
//! codes 5 = 101, 1 = 001 and 6 = 110 in 3 bits each. Bytes with the lowest bit on the right:
//!
//! byte 0    10 001 101       from the right: 5, 1, and the two low bits of 6
//! byte 1    0000000 1        the high bit of 6
//! ```
//!
//! Hint: bit b of code c is bit (c bits + b) of all. In which byte is that, and where in it?

#![allow(unused_imports)] // until it is solved

use super::unsolved;

/// As many bytes as are needed, and none more.
pub fn pack(codes: &[u32], bits: usize) -> Vec<u8> {
    unsolved((codes, bits))
}
