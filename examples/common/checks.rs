//! Checks of what some programs are set to.

use super::common::Result;
use super::common::arguments::refuse;

/// Refuses a probability with which something is dropped.
///
/// # Errors
/// If it is not one, or nothing would ever be kept.
pub fn check_probability(name: &'static str, probability: f64) -> Result<()> {
    if (0.0..=1.0 - 2_f64.powi(-32)).contains(&probability) {
        return Ok(());
    }
    Err(refuse(name, probability.to_string(), "0 to below 1").into())
}

/// Refuses a learning rate.
///
/// # Errors
/// If single precision does not hold it, or it is not above 0.
pub fn check_learning_rate(rate: f64) -> Result<()> {
    if rate as f32 > 0.0 && (rate as f32).is_finite() {
        return Ok(());
    }
    let expected = "a positive number that single precision holds";
    Err(refuse("learning-rate", rate.to_string(), expected).into())
}
