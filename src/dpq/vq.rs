//! x
#[cfg(feature = "proptest")]
pub(super) fn cases() -> Vec<crate::strategies::Case> { vec![] }
