//! What the benchmarks share: their few flags, timing in turn, and a JSON line a row.

#![allow(dead_code, reason = "every benchmark uses some of it")]

pub mod layer;

use std::time::Instant;

/// `--threads 1,2 --repeats 9 --only a,b`; anything else (cargo's `--bench`) is passed over.
pub struct Options {
    /// Numbers of threads to measure with.
    pub threads: Vec<usize>,
    /// How often each thing is timed.
    pub repeats: usize,
    only: Vec<String>,
}

impl Options {
    /// From the command line.
    pub fn parse() -> Options {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |flag: &str| {
            arguments.iter().position(|a| a == flag).and_then(|i| arguments.get(i + 1))
        };
        let list = |text: &String| text.split(',').map(String::from).collect::<Vec<_>>();
        let numbers = |text: &String| {
            text.split(',').map(|n| n.parse().expect("a number")).collect::<Vec<_>>()
        };
        Options {
            threads: value("--threads").map_or(vec![1, 2], numbers),
            repeats: value("--repeats").map_or(9, |n| n.parse().expect("a number")),
            only: value("--only").map_or(Vec::new(), list),
        }
    }

    /// Whether `--only` names this or what it begins with, or is not given.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }
}

/// Seconds of each call, all things visited in turn `repeats` times after three calls to warm up.
/// Short calls are averaged over about 50 ms.
pub fn in_turn<T>(repeats: usize, things: &mut [T], mut call: impl FnMut(&mut T)) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); things.len()];
    for thing in things.iter_mut() {
        (0..3).for_each(|_| call(thing));
    }
    for _ in 0..repeats {
        for (thing, times) in things.iter_mut().zip(&mut times) {
            let start = Instant::now();
            call(thing);
            let calls = (0.05 / start.elapsed().as_secs_f64()).clamp(1.0, 1000.0) as usize;
            let start = Instant::now();
            (0..calls).for_each(|_| call(thing));
            times.push(start.elapsed().as_secs_f64() / calls as f64);
        }
    }
    times
}

/// The middle one.
pub fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Prints median, minimum and maximum in milliseconds, and of `flops` a call the GFLOP/s.
pub fn report(bench: &str, what: &str, threads: usize, seconds: &[f64], flops: Option<f64>) {
    let [min, max] = [f64::min, f64::max].map(|f| seconds.iter().copied().fold(seconds[0], f));
    let (median, n) = (median(seconds), seconds.len());
    let ms = |seconds: f64| format!("{:.4}", 1e3 * seconds);
    let rate =
        flops.map_or(String::new(), |flops| format!(",\"gflops\":{:.1}", flops / median / 1e9));
    println!(
        "{{\"bench\":\"{bench}\",\"what\":\"{what}\",\"threads\":{threads},\"median_ms\":{},\"min_ms\":{},\"max_ms\":{},\"repeats\":{n}{rate}}}",
        ms(median),
        ms(min),
        ms(max),
    );
}
