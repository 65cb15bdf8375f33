//! Loops over slices and register tiles, compiled once per instruction set.
//!
//! Every kernel is safe Rust, generic over [`Real`](crate::real::Real) and over the instruction
//! set, and is dispatched once per call to the widest one that the machine has. Sums run in a
//! fixed number of lanes, so their bits do not depend on which one that is.

#![expect(clippy::needless_range_loop, reason = "register tiles are indexed by row and vector")]

pub(crate) mod transpose;
pub(crate) mod panel;
pub(crate) mod elementwise;
pub(crate) mod exponential;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod lstm;

use fearless_simd::Level;

/// The instruction set that kernels are dispatched to.
#[inline]
pub(crate) fn level() -> Level {
    #[cfg(all(test, all_levels))]
    if let Some(level) = levels::FORCED.get() {
        return level;
    }
    Level::new()
}

/// Built with `--cfg all_levels`, tests can run kernels at every level that the machine has.
#[cfg(all(test, all_levels))]
pub(crate) mod levels {
    use fearless_simd::{Level, Simd, dispatch};
    use std::cell::Cell;

    thread_local! {
        /// What [`level`](super::level) returns on this thread.
        pub(crate) static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
    }

    /// Runs `f` at every level, the portable one first, and returns the results by name.
    pub(crate) fn at_each<R: Send>(f: impl Fn() -> R + Sync) -> Vec<(String, R)> {
        let best = Level::new();
        #[cfg(target_arch = "x86_64")]
        let known = [
            best.as_sse2().map(Level::Sse2),
            best.as_sse4_2().map(Level::Sse4_2),
            best.as_avx2().map(Level::Avx2),
            best.as_avx512().map(Level::Avx512),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let known = [Some(best)];
        let run = |level: Level| {
            // On one thread, which then is the one that the level is forced on.
            crate::parallel::with_threads(1, || {
                FORCED.set(Some(level));
                let used = dispatch!(super::level(), simd => simd.level());
                assert_eq!(format!("{used:?}"), format!("{level:?}"), "the level that was tried");
                let result = f();
                FORCED.set(None);
                (format!("{level:?}"), result)
            })
        };
        [Some(Level::fallback())].into_iter().chain(known).flatten().map(run).collect()
    }
}
