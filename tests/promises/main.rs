//! What the crate promises, a file for each promise.

mod algebra;
mod bad_input;
mod checker;
mod codes;
mod compact;
mod determinism;
mod export;
mod fused_equals_composed;
mod golden;
mod house;
mod numbers;
mod options;
mod owners;
mod precision;
mod products;
mod quantization;
mod refusal;
mod resume;
mod sizes;
mod wrong_rules;
