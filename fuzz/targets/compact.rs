//! Compact tables: what is read is what is written, and every row can be looked up.
#![no_main]

use dpq::{CompactEmbedding, Real};
use dpq_fuzz::{mutate_file, read_file};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_file(bytes, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    read::<f32>(bytes);
    read::<f64>(bytes);
});

fn read<T: Real>(bytes: &[u8]) {
    // A name of one letter, two bytes in the file, takes 12 more for its place and its rank.
    let Ok(table) = read_file(bytes, 8, CompactEmbedding::<T>::from_bytes) else { return };
    let again = CompactEmbedding::from_bytes(&table.to_bytes()).unwrap();
    assert_eq!(again, table);
    let rows = table.vocabulary() as u32;
    let some: Vec<u32> = (0..rows.min(16)).chain(rows.saturating_sub(16)..rows).collect();
    assert_eq!(again.lookup(&some).unwrap(), table.lookup(&some).unwrap());
    assert!(table.lookup(&[rows]).is_err());
}
