//! What is checked in `f64` is what trains in `f32`.
#![cfg(feature = "proptest")]

#[test]
fn training_is_the_same_in_both_precisions() {
    for (single, double) in dpq::precision::in_both_precisions() {
        assert_eq!(single.len(), double.len());
        for (a, b) in single.iter().zip(&double) {
            assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{single:?} {double:?}");
        }
    }
}
