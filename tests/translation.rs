//! The example `translation` as its users see it: BLEU, what it refuses, and that what it saves translates as
//! what it trained. `cargo test` builds it.

#[path = "../examples/translation/bleu.rs"]
mod bleu;
mod program;

use bleu::bleu;
use dpq::Tensor;
use dpq::io::{StoredTensor, save_tensors};
use program::{program, refusal, stdout};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::{TempDir, tempdir};

fn run(arguments: &str, paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(program("translation"));
    command.args(["--units", "16", "--groups", "8", "--quiet"]).args(arguments.split_whitespace());
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    command.output().unwrap()
}

/// A folder with a made-up task: the words of a sentence, the other way round.
fn data() -> TempDir {
    let folder = tempdir().unwrap();
    for (part, count) in [("train", 300), ("val", 20), ("test_a", 20)] {
        let sentence = |i: usize| -> Vec<String> {
            (0..1 + i % 4).map(|k| format!("w{}", (i * 7 + k * k * 5 + count) % 9)).collect()
        };
        let lines = |turned: bool| -> String {
            let line = |i| {
                let mut words = sentence(i);
                if turned {
                    words.reverse();
                }
                words.join(" ") + "\n"
            };
            (0..count).map(line).collect()
        };
        fs::write(folder.path().join(format!("{part}.en")), lines(false)).unwrap();
        fs::write(folder.path().join(format!("{part}.de")), lines(true)).unwrap();
    }
    folder
}

#[test]
fn bleu_is_that_of_sacrebleu() {
    let fixture: Value = serde_json::from_str(include_str!("data/bleu.json")).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 20);
    for case in cases {
        let [translations, references] = ["translations", "references"].map(|key| {
            let words = |line: &Value| -> Vec<String> {
                line.as_str().unwrap().split(' ').map(String::from).collect()
            };
            case[key].as_array().unwrap().iter().map(words).collect::<Vec<_>>()
        });
        let (found, expected) = (bleu(&translations, &references), case["bleu"].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let folder = data();
    let refused = |file: &str, text: &[u8]| {
        let path = folder.path().join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let message = refusal(&run("--epochs 1", &[("--data", folder.path())]), &folder);
        fs::write(&path, before).unwrap();
        message
    };
    assert_eq!(
        refused("train.de", b"w1\nw2\n"),
        "error: train.de: found 2 lines, expected 300, as train.en has"
    );
    let blank = "w1\n".repeat(11) + "\n" + &"w1\n".repeat(8);
    assert_eq!(
        refused("val.en", blank.as_bytes()),
        "error: val.en: found an empty line 12, expected a sentence"
    );
    assert_eq!(
        refused("test_a.en", b"w1\nw\xff\n"),
        "error: test_a.en: found line 2: a byte that is no UTF-8, expected UTF-8 text"
    );
    let output = run("--from fr", &[("--data", folder.path())]);
    let expected = "found no such file, expected train.fr";
    assert!(refusal(&output, &folder).ends_with(expected), "{output:?}");
    let output = run("--from de", &[("--data", folder.path())]);
    assert_eq!(
        refusal(&output, &folder),
        "error: into = de: expected another language than --from"
    );
    assert_eq!(run("--from de", &[]).status.code(), Some(2), "a flag that would count for nothing");
    let output = run("--beam 0", &[]);
    assert_eq!(refusal(&output, &folder), "error: beam = 0: expected 1 to 1000");
}

#[test]
fn a_long_sentence_is_cut_in_training_and_translated_whole() {
    let folder = data();
    for language in ["en", "de"] {
        for part in ["train", "test_a"] {
            let path = folder.path().join(format!("{part}.{language}"));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text + &"w1 ".repeat(300) + "\n").unwrap();
        }
    }
    let out = stdout(&run("--epochs 1 --embedding full", &[("--data", folder.path())]));
    assert!(out.contains("full"), "{out}");
}

#[test]
fn other_data_are_not_gone_on_with() {
    let folder = data();
    let out = folder.path().join("out");
    let paths = [("--data", folder.path()), ("--out", &out)];
    stdout(&run("--epochs 1 --embedding full", &paths));
    // As many words, and the same ones, in another order.
    let path = folder.path().join("train.de");
    let text = fs::read_to_string(&path).unwrap();
    let turned: Vec<&str> = text.lines().rev().collect();
    fs::write(&path, turned.join("\n")).unwrap();
    let message = refusal(&run("--epochs 1 --embedding full --resume", &paths), &folder);
    assert!(message.contains("found data = 340 pairs, hash "), "{message}");
}

#[test]
fn what_is_saved_translates_and_is_refused_when_damaged() {
    let folder = data();
    let out = folder.path().join("out");
    let paths = [("--data", folder.path()), ("--out", &out)];
    let printed = stdout(&run("--epochs 2 --embedding full,sx,low-rank --compress both", &paths));
    assert_eq!(printed.lines().count(), 5, "{printed}");
    assert!(out.join("sx/embedding.target.safetensors").is_file());
    let translate = |file: &Path, input: &str| {
        let mut command = Command::new(program("translation"));
        command.arg("translate").arg(file).args(["--beam", "2"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    for kind in ["full", "sx", "low-rank"] {
        let file = out.join(kind).join("translator.safetensors");
        let found = stdout(&translate(&file, "w1 w2 w3\n\nw4 never-seen\n"));
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!((lines.len(), lines[1]), (3, ""), "{found}");

        let whole = fs::read(&file).unwrap();
        let damaged = folder.path().join("damaged");
        for length in [0, 10, whole.len() / 2, whole.len() - 1] {
            fs::write(&damaged, &whole[..length]).unwrap();
            let message = refusal(&translate(&damaged, "w1\n"), &folder);
            assert!(message.starts_with("error: damaged: found "), "{message}");
        }
    }
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("BLEU over epochs") && report.contains("Attention"));
}

#[test]
fn a_file_is_refused_before_room_is_made_for_what_it_does_not_hold() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("wide");
    let words = || StoredTensor::from_bytes(b"<s>\n</s>\n<unk>".to_vec());
    let numbers = |shape: [usize; 2]| StoredTensor::from_tensor(&Tensor::<f32>::zeros(shape));
    // So many units that the layers would take terabytes.
    let tensors = [
        ("source.words", words()),
        ("target.words", words()),
        ("source.weight", numbers([3, 1])),
        ("target.weight", numbers([3, 2])),
        ("out", numbers([300_000, 3])),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).into();
    save_tensors(&file, &tensors, &[("format", "dpq translator 1")]).unwrap();
    let mut command = Command::new(program("translation"));
    let message = refusal(&command.arg("translate").arg(&file).output().unwrap(), &folder);
    assert_eq!(
        message,
        "error: wide: found 900037 numbers for 300000 units and rows of [1, 2], expected all layers of a translator"
    );
}

#[test]
fn a_stopped_run_goes_on_to_the_same_figures_with_any_threads() {
    let folder = data();
    let models = |out: &Path| -> Vec<Value> {
        let text = fs::read_to_string(out.join("result.json")).unwrap();
        let run: Value = serde_json::from_str(&text).unwrap();
        let figures = |model: &Value| {
            ["embedding", "valid_bleu", "test_bleu", "table_bytes"]
                .map(|key| model[key].clone())
                .into()
        };
        run["models"].as_array().unwrap().iter().map(figures).collect()
    };
    let bytes = |out: &Path| fs::read(out.join("sx/embedding.safetensors")).unwrap();
    let flags = "--embedding full,sx --epochs 3 --dropout 0.2";
    let [straight, stopped] = ["straight", "stopped"].map(|name| folder.path().join(name));
    let with = |out| [("--data", folder.path()), ("--out", out)];
    stdout(&run(&format!("{flags} --threads 1"), &with(&straight)));
    let mut command = Command::new(program("translation"));
    command.args(["--units", "16", "--groups", "8", "--quiet", "--save-every", "0"]);
    command.args(flags.split(' ')).arg("--data").arg(folder.path()).arg("--out").arg(&stopped);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !stopped.join("full/checkpoint.previous.safetensors").is_file() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    stdout(&run(&format!("{flags} --threads 2 --resume"), &with(&stopped)));
    assert_eq!(models(&straight), models(&stopped));
    assert_eq!(bytes(&straight), bytes(&stopped));
}
