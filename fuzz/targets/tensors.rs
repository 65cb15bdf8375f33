//! Safetensors files of any origin.
#![no_main]

use dpq::io::{tensors_from_bytes, tensors_to_bytes};
use dpq_fuzz::{mutate_file, read_file};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::path::Path;

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_file(bytes, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok((tensors, metadata)) =
        read_file(bytes, 2, |bytes| tensors_from_bytes("".as_ref(), bytes))
    else {
        return;
    };
    for tensor in tensors.values() {
        tensor.to_tensor::<f32>();
        tensor.to_tensor::<f64>();
        tensor.to_bytes();
    }
    let pairs: Vec<_> = metadata.iter().map(|(key, value)| (&**key, &**value)).collect();
    let written = tensors_to_bytes(&tensors, &pairs);
    assert_eq!(tensors_from_bytes(Path::new(""), &written).unwrap(), (tensors, metadata));
});
