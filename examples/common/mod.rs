//! What the example programs share: command line, the run of all models, results.

pub mod arguments;
pub mod embeddings;
pub mod interrupt;
pub mod output;
pub mod progress;
pub mod report;
pub mod results;
pub mod run;
pub mod watch;
pub mod watched;

/// `Result` with any error that can be shown.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
