//! The instruction set: every kernel is compiled for each, and called for the widest one there is.

use fearless_simd::Level;

/// Calls a kernel as it is compiled for the widest instruction set that the machine has:
/// `dispatch!(|simd| kernel(simd, x, y))`, one call of an `#[inline(always)]` function that is
/// generic over [`Simd`](fearless_simd::Simd).
macro_rules! dispatch {
    (|$simd:ident| $kernel:expr) => {
        fearless_simd::dispatch!(
            $crate::kernels::dispatch::level(),
            $simd => fearless_simd::Simd::vectorize($simd, #[inline(always)] || $kernel)
        )
    };
}
pub(crate) use dispatch;

/// The instruction set that kernels are dispatched to.
#[inline]
pub(crate) fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = levels::FORCED.get() {
        return level;
    }
    Level::new()
}

/// Unit tests can run kernels at every level that the machine has and the build dispatches to.
#[cfg(test)]
pub(crate) mod levels {
    use super::*;
    use fearless_simd::Simd;
    use std::cell::Cell;

    thread_local! {
        /// What [`level`](super::level) returns on this thread.
        pub(crate) static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
    }

    /// Runs `f` at every level, the narrowest first, and returns the results by name.
    pub(crate) fn at_each<R: Send>(f: impl Fn() -> R + Sync) -> Vec<(String, R)> {
        let best = Level::new();
        #[cfg(target_arch = "x86_64")]
        let known = [
            best.as_sse2().map(Level::Sse2),
            best.as_avx2().map(Level::Avx2),
            best.as_avx512().map(Level::Avx512),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let known = [Some(best)];
        let run = |forced: Level| {
            // On one thread, which then is the one that the level is forced on.
            crate::parallel::with_threads(1, || {
                FORCED.set(Some(forced));
                let used = fearless_simd::dispatch!(level(), simd => simd.level());
                assert_eq!(format!("{used:?}"), format!("{forced:?}"), "the level that was tried");
                let result = f();
                FORCED.set(None);
                (format!("{forced:?}"), result)
            })
        };
        known.into_iter().flatten().map(run).collect()
    }
}
