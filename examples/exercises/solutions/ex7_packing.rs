//! Solution of exercise 7: packing codes.

pub fn pack(codes: &[u32], bits: usize) -> Vec<u8> {
    let mut bytes = vec![0; (codes.len() * bits).div_ceil(8)];
    for (c, code) in codes.iter().enumerate() {
        for b in 0..bits {
            let place = c * bits + b;
            bytes[place / 8] |= (code >> b & 1) as u8 * (1 << (place % 8));
        }
    }
    bytes
}
