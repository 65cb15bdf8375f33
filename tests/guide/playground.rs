//! The page to play with shows the crate's numbers, stays small, and is the one that its example writes.
//!
//! The page's own first script runs in Node and in Chromium, each where it is installed.

#[path = "../../examples/playground/join.rs"]
mod join;

use dpq::pq::{Form, Normalization, Temperature, composed, sx, vq};
use dpq::{DpqConfig, Tape, Tensor, rng};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::tempdir;

/// Tokens, groups, codewords, coordinates of a group.
const SIZES: [usize; 4] = [3, 2, 4, 2];
const SETTINGS: u64 = 200;
/// What is compared. VQ has no values.
const COMPARED: [&str; 6] = ["y", "code", "loss", "q", "keys", "values"];

struct Setting {
    config: DpqConfig,
    /// Queries and targets n x d, keys and values G x K x s.
    tensors: [Tensor<f64>; 4],
}

impl Setting {
    /// All eight kinds, with beta and without, in turn; everything else is drawn.
    fn random(seed: u64) -> Setting {
        let mut rng = rng::stream(seed, "playground", 0);
        let mut draw = |shape: &[usize], bound| Tensor::<f64>::uniform(shape, bound, &mut rng);
        let [n, groups, k, s] = SIZES;
        let is = |bit: u64| seed >> bit & 1 == 1;
        let form = if is(0) { Form::Vq } else { Form::Sx };
        let extras = draw(&[2], 1.0);
        let tau = if form == Form::Sx { 10_f64.powf(extras.data()[0]) } else { 1.0 };
        let config = DpqConfig {
            batch_norm: is(1),
            shared: is(2),
            beta: if is(3) { extras.data()[1].abs() } else { 0.0 },
            temperature: Temperature::Fixed(tau),
            ..DpqConfig::new(form, groups, k)
        };
        let (rows, book) = ([n, groups * s], [config.codebooks(), k, s]);
        let tensors = [draw(&rows, 1.5), draw(&rows, 1.5), draw(&book, 1.5), draw(&book, 1.5)];
        Setting { config, tensors }
    }

    /// As the page holds it.
    fn to_json(&self) -> Value {
        let [q, target, keys, values] = self.tensors.each_ref().map(Tensor::data);
        let DpqConfig { form, batch_norm: norm, shared, beta, .. } = self.config;
        let form = if form == Form::Sx { "sx" } else { "vq" };
        let tau = self.config.temperature.start();
        json!({ "form": form, "norm": norm, "shared": shared, "beta": beta, "tau": tau, "mistake": "none",
            "q": q, "target": target, "keys": keys, "values": values })
    }

    /// What the crate gives.
    fn outcome(&self, fused: bool) -> [Vec<f64>; 6] {
        let (config, tape) = (&self.config, Tape::new());
        let [q, target, keys, values] = self.tensors.each_ref().map(|x| tape.leaf(x.clone()));
        let norm = if config.batch_norm { Normalization::Batch } else { Normalization::Off };
        let ids = [0, 1, 2];
        let quantized = match (config.form, fused) {
            (Form::Sx, true) => sx(config, norm, q, &ids, keys, values),
            (Form::Vq, true) => vq(config, norm, q, &ids, keys),
            (Form::Sx, false) => composed::sx(config, norm, q, keys, values),
            (Form::Vq, false) => composed::vq(config, norm, q, keys),
        };
        let error = quantized.rows - target;
        let task = (error * error).sum() * 0.5;
        let loss = quantized.regulariser.map_or(task, |regulariser| task + regulariser);
        let grads = tape.backward(loss).unwrap();
        let of = |x| grads.dense(x).data().to_vec();
        let dvalues = if config.form == Form::Sx { of(values) } else { Vec::new() };
        let codes = quantized.codes.to_vec().into_iter().map(f64::from).collect();
        let (rows, loss) = (quantized.rows.value(), loss.value());
        [rows.data().to_vec(), codes, loss.data().to_vec(), of(q), of(keys), dvalues]
    }
}

fn built_copy() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playground.html");
    fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

/// The script of the built copy that computes.
fn first_script(page: &str) -> &str {
    let (_, rest) = page.split_once("<script>\n").unwrap();
    rest.split_once("</script>").unwrap().0
}

/// Starts a program with its output in a file, and waits a minute for it. What it wrote, or why there is none.
fn output_of(program: &str, arguments: &[&str], file: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdout(File::create(file).unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("{program} is missing ({error})"))?;
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("{program} did not end within a minute"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(fs::read_to_string(file).unwrap())
}

/// What the page computes is what the crate computes, composed and fused.
fn agree(program: &str, computed: &str) {
    let computed: Vec<Value> = serde_json::from_str(computed).expect("the script's numbers");
    assert_eq!(computed.len() as u64, SETTINGS);
    let mut largest = 0.0_f64;
    for (seed, computed) in computed.iter().enumerate() {
        for fused in [false, true] {
            let expected = Setting::random(seed as u64).outcome(fused);
            for (name, expected) in COMPARED.iter().zip(&expected) {
                let number = |x: &Value| x.as_f64().expect("a finite number");
                let found: Vec<f64> = match &computed[name] {
                    Value::Array(list) => list.iter().map(number).collect(),
                    one => vec![number(one)],
                };
                assert_eq!(found.len(), expected.len(), "{program}: {name} of setting {seed}");
                let size = expected.iter().fold(1e-300, |most: f64, x| most.max(x.abs()));
                let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / size);
                let apart = apart.fold(0.0, f64::max);
                assert!(apart <= 1e-12, "{program}: {name} of setting {seed} is {apart:e} off");
                largest = largest.max(apart);
            }
        }
    }
    println!("playground: {program} agrees over {SETTINGS} settings, {largest:.1e} apart at most");
}

fn settings() -> String {
    Value::from((0..SETTINGS).map(|seed| Setting::random(seed).to_json()).collect::<Vec<_>>())
        .to_string()
}

#[test]
fn its_numbers_are_the_crates_in_node() {
    let folder = tempdir().unwrap();
    let script = folder.path().join("script.js");
    let page = built_copy();
    let run = format!("console.log(JSON.stringify({}.map(gradients)))", settings());
    fs::write(&script, format!("{}\n{run}\n", first_script(&page))).unwrap();
    match output_of("node", &[script.to_str().unwrap()], &folder.path().join("output")) {
        Err(reason) => println!("playground: {reason}: skipped"),
        Ok(computed) => agree("node", &computed),
    }
}

#[test]
fn its_numbers_are_the_crates_in_chromium() {
    let folder = tempdir().unwrap();
    let wrapper = folder.path().join("wrapper.html");
    let page = built_copy();
    let run = format!(
        "document.getElementById('computed').textContent = JSON.stringify({}.map(gradients))",
        settings()
    );
    let scripts = format!("<script>{}</script><script>{run}</script>", first_script(&page));
    fs::write(
        &wrapper,
        format!("<!doctype html><meta charset=\"utf-8\"><pre id=\"computed\"></pre>{scripts}"),
    )
    .unwrap();
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let address = format!("file://{}", wrapper.display());
    let arguments =
        ["--headless=new", "--no-sandbox", "--disable-gpu", &profile, "--dump-dom", &address];
    let mut reasons = Vec::new();
    for browser in ["chromium", "chromium-browser", "google-chrome"] {
        match output_of(browser, &arguments, &folder.path().join("output")) {
            Err(reason) => reasons.push(reason),
            Ok(document) => match document.split_once("<pre id=\"computed\">") {
                // A browser that may not read the folder, or not start, shows something else.
                None => reasons.push(format!("{browser} did not open the page")),
                Some((_, rest)) => return agree(browser, rest.split_once("</pre>").unwrap().0),
            },
        }
    }
    println!("playground: {}: skipped", reasons.join(", "));
}

#[test]
fn it_is_small_and_needs_no_other_file() {
    let lines: usize =
        join::COMPUTING.iter().chain(&join::SHOWING).map(|part| part.lines().count()).sum();
    assert!(lines <= 600, "{lines} lines of JavaScript");
    let page = built_copy();
    assert!(page.len() <= 200_000, "{} bytes", page.len());
    for other in ["http://", "https://", "src=", "@import", "url(", "import ", "fetch("] {
        assert!(!page.contains(other), "{other}");
    }
}

#[test]
fn the_built_copy_is_what_the_example_writes() {
    let fresh = join::page().replace("\r\n", "\n");
    assert!(built_copy() == fresh, "run: cargo run --example playground");
}
