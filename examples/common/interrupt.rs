//! Ctrl-C: the first one asks the program to stop after its step, the second one stops it at once.

use super::Result;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that Ctrl-C ended, as shells have it.
pub const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C is listened to.
///
/// # Errors
/// If the system does not allow it.
pub fn listen() -> Result<()> {
    Ok(ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_CODE));
        }
        super::progress::tell("stopping after this step; Ctrl-C again stops at once");
    })?)
}

/// Whether Ctrl-C was pressed.
pub fn was_asked_for() -> bool {
    ASKED.load(Ordering::Relaxed)
}
