//! Files of parameters: all of them are set, or none.
#![no_main]

use dpq::{Params, Tensor};
use dpq_fuzz::{mutate_file, read_file};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_file(bytes, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| {
    let mut params = model();
    let before = params.to_bytes();
    if read_file(bytes, 2, |bytes| params.load_bytes(bytes)).is_err() {
        assert_eq!(params.to_bytes(), before);
        return;
    }
    let after = params.to_bytes();
    let mut again = model();
    again.load_bytes(&after).unwrap();
    assert_eq!(again.to_bytes(), after);
});

fn model() -> Params<f32> {
    let mut params = Params::new();
    params.add("a.weight", Tensor::from([[1.0, 2.0], [3.0, 4.0]]));
    params.add("b.weight", Tensor::from([5.0]));
    params.add_statistic("b.mean", Tensor::from([6.0]));
    params
}
