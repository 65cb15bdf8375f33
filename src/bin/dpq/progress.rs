//! How far a command is, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on standard error.
pub fn bar(what: &'static str, steps: usize, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
    let style = if steps == 0 { "{msg} {spinner}" } else { "{msg:>10} {bar:40} {percent}%" };
    bar.set_style(ProgressStyle::with_template(style).expect("a sound template"));
    bar.set_message(what);
    if steps == 0 {
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
    }
    bar
}
