//! What example programs share: command line, progress, results.

pub mod after_training;
pub mod arguments;
pub mod interrupt;
pub mod output;
pub mod progress;
pub mod report;
pub mod results;
pub mod text;
pub mod watch;

/// `Result` with any error that can be shown.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
