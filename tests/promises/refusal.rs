//! Mistakes in code panic at the caller's line.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Where the last panic that was waited for happened.
    static FILE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The message of the panic that `f` ends with, which must name a line of these tests, where the
/// mistake is, and not one of the crate.
pub fn refusal<R>(f: impl FnOnce() -> R) -> String {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            let file = panic.location().map(|location| location.file().to_string());
            let waited_for = FILE.with(|seen| match &mut *seen.borrow_mut() {
                Some(seen) => {
                    *seen = file.unwrap_or_default();
                    true
                }
                None => false,
            });
            if !waited_for {
                others(panic);
            }
        }));
    });
    FILE.with(|seen| *seen.borrow_mut() = Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(f));
    let file = FILE.with(|seen| seen.borrow_mut().take()).unwrap_or_default();
    let Err(panic) = outcome else { panic!("nothing was refused") };
    let message = match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast::<&str>().map_or("no message".into(), |text| text.to_string()),
    };
    assert!(file.starts_with("tests"), "panicked in {file}: {message}");
    message
}
