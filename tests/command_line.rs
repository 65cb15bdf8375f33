//! The example `lstm_lm` as its users see it: what it refuses, what it leaves in `--out`, and what it
//! does when files and terminals fail. `cargo test` builds it.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

/// The program. `cargo test` builds it; a run of these tests alone does not.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("lstm_lm{}", std::env::consts::EXE_SUFFIX);
    let folder = test.parent().and_then(Path::parent).expect("a folder of builds");
    let path = folder.join("examples").join(name);
    assert!(path.is_file(), "no {}: cargo build --all-features --examples", path.display());
    path
}

/// A folder with a text in three parts, `data`, and maybe results in `out`.
struct Folder(TempDir);

impl Folder {
    /// A text of eight words that come in the same order in every line.
    fn new() -> Folder {
        let folder = Folder(tempdir().unwrap());
        fs::create_dir(folder.at("data")).unwrap();
        for (part, lines) in [("train", 300), ("valid", 200), ("test", 50)] {
            folder.write_part(part, &"a b c d e f g h\n".repeat(lines));
        }
        folder
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write_part(&self, part: &str, text: &str) {
        fs::write(self.at(&format!("data/{part}.txt")), text).unwrap();
    }

    /// The program on this text, with a quick preset.
    fn command(&self, program: &Path, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--data").arg(self.at("data")).args(["--preset", "tiny", "--threads", "1"]);
        command.args(arguments.split_whitespace());
        command
    }

    fn command_with_out(&self, program: &Path, arguments: &str) -> Command {
        let mut command = self.command(program, arguments);
        command.arg("--out").arg(self.at("out"));
        command
    }

    fn run(&self, program: &Path, arguments: &str) -> Output {
        self.command(program, arguments).output().unwrap()
    }

    fn run_with_out(&self, program: &Path, arguments: &str) -> Output {
        self.command_with_out(program, arguments).output().unwrap()
    }

    /// All regular files in `out`, sorted.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.at("out")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with(".lock") {
                    let name = path.strip_prefix(self.at("out")).unwrap();
                    found.push(name.to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        found.sort();
        found
    }

    /// Those that are no checkpoints and no reports.
    fn results(&self) -> Vec<String> {
        let other = |name: &String| name.contains("/checkpoint.") || name.ends_with("report.html");
        self.files().into_iter().filter(|name| !other(name)).collect()
    }

    /// Every file is whole, whatever happened.
    #[track_caller]
    fn assert_whole(&self) {
        for name in self.files() {
            let path = self.at(&format!("out/{name}"));
            if name.ends_with(".jsonl") {
                assert!(!self.metrics(&format!("out/{name}")).is_empty(), "{name}");
            } else if name.contains("/checkpoint.") && name.ends_with(".safetensors") {
                dpq::io::load_tensors(&path).unwrap();
            } else if name.ends_with(".safetensors") {
                dpq::CompactEmbedding::<f32>::load(&path).unwrap();
            } else if name.ends_with(".html") {
                assert!(fs::read_to_string(&path).unwrap().ends_with("</html>\n"), "{name}");
            } else if name.ends_with(".json") {
                serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
            } else {
                assert!(name.ends_with(".part"), "{name}");
            }
        }
    }

    fn metrics(&self, path: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.at(path)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn assert_succeeded(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
}

/// The program ended with 1 before any training, and said only this of a file or setting.
#[track_caller]
fn assert_refused(output: &Output, message: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    assert_eq!(stderr(output), format!("error: {message}\n"));
    assert_eq!(stdout(output), "");
}

/// The models that the table has a row for.
fn models(output: &Output) -> Vec<&str> {
    let rows = stdout(output).split('\n').skip(2).take_while(|row| !row.starts_with("--"));
    rows.filter_map(|row| row.split_whitespace().next()).collect()
}

/// Words drawn from sixty, eight in a line.
fn random_text(words: usize, mut seed: u32) -> String {
    let mut word = |i| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("w{}{}", (seed >> 16) % 60, if i % 8 == 7 { '\n' } else { ' ' })
    };
    (0..words).map(&mut word).collect()
}

/// Waits until `path` is there, at most half a minute.
fn wait_for(path: &Path, run: &mut Child) {
    let start = Instant::now();
    while !path.exists() {
        if start.elapsed() > Duration::from_secs(30) {
            run.kill().unwrap();
            panic!("no {} after half a minute", path.display());
        }
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_word_of_the_validation_text_is_scored() {
    let program = program();
    let folder = Folder::new();
    folder.write_part("train", &random_text(2400, 1));
    // 800 tokens are 20 streams of 39 predictions. In the other text the second half of each is
    // unknown, which is past the only whole window.
    let text = random_text(799, 3).replace('\n', " ");
    let words = text.split_whitespace().enumerate();
    let other: Vec<&str> =
        words.map(|(i, word)| if i % 39 >= 22 { "unseen" } else { word }).collect();
    let [known, unknown] = [text.as_str(), &other.join(" ")].map(|text| {
        folder.write_part("valid", text);
        assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding full"));
        folder.metrics("out/full/metrics.jsonl")[0]["valid_perplexity"].as_f64().unwrap()
    });
    assert!(unknown > 1.2 * known, "{unknown} is not far above {known}");
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    let program = program();
    let folder = Folder::new();
    let results = || {
        assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding full"));
        let epoch = folder.metrics("out/full/metrics.jsonl").remove(0);
        ["train_perplexity", "valid_perplexity"].map(|key| epoch[key].clone())
    };
    let plain = results();
    for part in ["train", "valid", "test"] {
        let text = fs::read_to_string(folder.at(&format!("data/{part}.txt"))).unwrap();
        folder.write_part(part, &format!("\u{feff}{text}"));
    }
    assert_eq!(results(), plain);
}

#[test]
fn a_text_that_is_too_short_is_refused_in_words() {
    let program = program();
    let folder = Folder::new();
    folder.write_part("train", &"a b c d e f g h\n".repeat(3));
    assert_refused(
        &folder.run(&program, ""),
        "training text: 27 words, expected at least 420 for preset tiny (20 streams of 21 words)",
    );
}

#[test]
fn short_texts_to_validate_and_test_on_will_do() {
    let program = program();
    let folder = Folder::new();
    folder.write_part("valid", "a b c d e f g h\n".repeat(3).as_str());
    folder.write_part("test", "a\n");
    assert_succeeded(&folder.run(&program, "--epochs 1 --embedding full"));
}

#[cfg(unix)]
#[test]
fn a_broken_link_is_named() {
    let program = program();
    let folder = Folder::new();
    let link = folder.at("data/train.txt");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/nonexistent", &link).unwrap();
    let message = "found a broken link to /nonexistent, expected a link to a text";
    assert_refused(&folder.run(&program, ""), &format!("{}: {message}", link.display()));
}

#[test]
fn names_in_the_way_are_refused_before_training() {
    let program = program();
    let file = "found a folder, expected a regular file, or nothing";
    let taken = "found a file, expected a folder, or nothing";
    for (folders, files, in_the_way, message) in [
        ("out/result.json", "", "out/result.json", file),
        ("out/sx/metrics.jsonl", "", "out/sx/metrics.jsonl", file),
        ("out/sx/embedding.safetensors", "", "out/sx/embedding.safetensors", file),
        ("out", "out/sx", "out/sx", taken),
        (".", "out", "out", taken),
        ("out", "out/earlier out/result.json", "out/earlier", taken),
    ] {
        let folder = Folder::new();
        fs::create_dir_all(folder.at(folders)).unwrap();
        files.split_whitespace().for_each(|file| fs::write(folder.at(file), "mine").unwrap());
        assert_refused(
            &folder.run_with_out(&program, "--embedding full,sx"),
            &format!("{}: {message}", folder.at(in_the_way).display()),
        );
        for file in files.split_whitespace() {
            assert_eq!(fs::read_to_string(folder.at(file)).unwrap(), "mine", "{file}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_is_refused_before_training() {
    let program = program();
    let folder = Folder::new();
    // No file may be larger than some KiB.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 10; exec \"$0\" \"$@\""]).arg(&program);
    shell.args(folder.command_with_out(&program, "--embedding sx").get_args());
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: ") && stderr(&output).lines().count() == 1);
    assert!(stderr(&output).contains("File too large"), "{}", stderr(&output));
    assert_eq!(folder.results(), [""; 0]);
}

#[test]
fn earlier_results_are_moved() {
    let program = program();
    let folder = Folder::new();
    assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding full,sx"));
    let first =
        ["full/metrics.jsonl", "result.json", "sx/embedding.safetensors", "sx/metrics.jsonl"];
    assert_eq!(folder.results(), first);
    let read = |name: &str| fs::read(folder.at("out").join(name)).unwrap();
    let before = first.map(read);
    for part in [".dpq-1-2.part", "vq/.dpq-1-2.part"] {
        fs::create_dir_all(folder.at("out/vq")).unwrap();
        fs::write(folder.at("out").join(part), "of a killed run").unwrap();
    }

    let again = folder.run_with_out(&program, "--epochs 1 --embedding sx --seed 7");
    assert_succeeded(&again);
    let earlier = folder.at("out/earlier/1");
    let line = format!("earlier results moved to {}\n", earlier.display());
    assert!(stderr(&again).starts_with(&line), "{}", stderr(&again));
    let moved = first.map(|name| format!("earlier/1/{name}"));
    assert_eq!(moved.each_ref().map(|name| read(name)), before);
    let new = ["result.json", "sx/embedding.safetensors", "sx/metrics.jsonl"];
    assert_eq!(folder.results(), [&moved[..], &new.map(String::from)].concat());

    assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding full --quiet"));
    let third = ["full/metrics.jsonl", "result.json"].map(String::from);
    let second = new.map(|name| format!("earlier/2/{name}"));
    assert_eq!(folder.results(), [&moved[..], &second, &third].concat());
}

#[test]
fn a_killed_run_leaves_whole_files() {
    let program = program();
    let folder = Folder::new();
    assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding full,sx"));
    for milliseconds in [5, 20, 60, 150, 300, 500] {
        let mut command =
            folder.command_with_out(&program, "--epochs 8 --embedding sx,vq --seed 7");
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(milliseconds));
        run.kill().unwrap();
        run.wait().unwrap();
        folder.assert_whole();
    }

    // What killed runs were writing is gone after the next.
    assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding full"));
    assert!(!folder.results().iter().any(|name| name.ends_with(".part")));
}

#[test]
fn a_killed_run_leaves_nothing_beside_an_earlier_one() {
    let program = program();
    let folder = Folder::new();
    assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding sx"));
    let first = folder.results();
    folder.write_part("train", &random_text(60_000, 1));
    let mut command = folder.command_with_out(&program, "--epochs 50 --embedding sx --seed 7");
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Both runs have one of this name.
    wait_for(&folder.at("out/earlier/1/sx/metrics.jsonl"), &mut run);
    wait_for(&folder.at("out/sx/metrics.jsonl"), &mut run);
    run.kill().unwrap();
    run.wait().unwrap();
    let results = folder.results();
    let (earlier, new): (Vec<_>, Vec<_>) =
        results.iter().partition(|name| name.starts_with("earlier/"));
    let moved: Vec<String> = first.iter().map(|name| format!("earlier/1/{name}")).collect();
    assert!(earlier.into_iter().eq(&moved), "{results:?}");
    let whole: Vec<_> = new.iter().filter(|name| !name.ends_with(".part")).collect();
    assert_eq!(whole, [&"sx/metrics.jsonl"]);
}

#[test]
fn files_that_cannot_be_written_stop_neither_training_nor_the_table() {
    let program = program();
    let folder = Folder::new();
    folder.write_part("train", &random_text(60_000, 1));
    let mut command = folder.command_with_out(&program, "--epochs 4 --embedding full,sx");
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Folders get in the way when training has begun.
    wait_for(&folder.at("out/full/metrics.jsonl"), &mut run);
    let names = ["result.json", "sx/embedding.safetensors", "sx/metrics.jsonl"];
    let paths = names.map(|name| folder.at("out").join(name));
    paths.iter().for_each(|path| fs::create_dir(path).unwrap());
    let output = run.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(models(&output), ["full", "sx"]);
    let told: Vec<&str> =
        stderr(&output).lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for path in paths {
        let path = path.to_str().unwrap();
        assert!(told.iter().any(|line| line.contains(path)), "{told:?} without {path}");
    }
    assert_eq!(folder.metrics("out/full/metrics.jsonl").len(), 4);
}

#[test]
fn a_model_that_fails_does_not_stop_the_others() {
    let program = program();
    let folder = Folder::new();
    // The entropy times this is beyond single precision.
    let output = folder.run_with_out(&program, "--epochs 1 --embedding sx,full --beta 3e38");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(models(&output), ["full"]);
    let last = stderr(&output).lines().last().unwrap();
    let expected = "error: sx: epoch 1, step 1: the loss is inf: expected a finite number; the last checkpoint is ";
    assert!(last.starts_with(expected) && last.ends_with("sx/checkpoint.safetensors"), "{last}");
    assert_eq!(folder.results(), ["full/metrics.jsonl", "result.json"]);
}

#[test]
fn a_reader_that_is_gone_stops_nothing() {
    let program = program();
    let folder = Folder::new();
    let mut command = folder.command_with_out(&program, "--epochs 1 --embedding full,sx");
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((run.stdout.take(), run.stderr.take()));
    // The table went nowhere, and that is a failure.
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let files =
        ["full/metrics.jsonl", "result.json", "sx/embedding.safetensors", "sx/metrics.jsonl"];
    assert_eq!(folder.results(), files);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_terminal_stops_nothing() {
    let program = program();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let folder = Folder::new();
    let mut command = folder.command_with_out(&program, "--epochs 1 --embedding full");
    let output = command.stderr(full()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(models(&output), ["full"]);
    assert_eq!(folder.results(), ["full/metrics.jsonl", "result.json"]);

    let folder = Folder::new();
    let mut command = folder.command_with_out(&program, "--epochs 1 --embedding full --quiet");
    let output = command.stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: the table could not be printed: "));
    assert_eq!(folder.results(), ["full/metrics.jsonl", "result.json"]);
}

#[cfg(unix)]
#[test]
fn no_folder_for_temporary_files_is_needed_with_out() {
    let program = program();
    let folder = Folder::new();
    let mut command = folder.command_with_out(&program, "--epochs 1 --embedding sx");
    assert_succeeded(&command.env("TMPDIR", "/nonexistent").output().unwrap());
    let mut command = folder.command(&program, "--epochs 1 --embedding sx");
    let output = command.env("TMPDIR", "/nonexistent").output().unwrap();
    assert_eq!(models(&output), ["sx"], "{}", stderr(&output));
}

#[test]
fn the_same_run_gives_the_same_table_to_the_byte() {
    let program = program();
    let tables = [(); 3].map(|()| {
        let folder = Folder::new();
        assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding sx --quiet"));
        fs::read(folder.at("out/sx/embedding.safetensors")).unwrap()
    });
    assert!(tables[0] == tables[1] && tables[1] == tables[2]);
}

#[test]
fn a_regulariser_as_large_as_single_precision_allows_still_trains() {
    let program = program();
    let folder = Folder::new();
    let run = folder.run_with_out(&program, "--epochs 2 --embedding sx --beta 1e22");
    assert_succeeded(&run);
    let changed = |epoch: &Value| epoch["codes_changed"].as_f64().unwrap();
    assert!(folder.metrics("out/sx/metrics.jsonl").iter().any(|epoch| changed(epoch) > 0.0));
}

/// What a run must end with, whatever happened on the way: the lines of metrics.jsonl and the models of
/// result.json without times and memory, and the bytes of the tables.
fn outcome(folder: &Folder, models: &[&str]) -> (Vec<Value>, Vec<Vec<u8>>) {
    let without_times = |mut value: Value| {
        let fields = value.as_object_mut().unwrap();
        for name in ["tokens_per_second", "seconds", "peak_rss_bytes"] {
            fields.remove(name);
        }
        value
    };
    let result: Value =
        serde_json::from_slice(&fs::read(folder.at("out/result.json")).unwrap()).unwrap();
    let mut figures: Vec<Value> = result["models"].as_array().unwrap().clone();
    let mut tables = Vec::new();
    for model in models {
        figures.extend(folder.metrics(&format!("out/{model}/metrics.jsonl")));
        tables.extend(fs::read(folder.at(&format!("out/{model}/embedding.safetensors"))).ok());
    }
    (figures.into_iter().map(without_times).collect(), tables)
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_if_nobody_had() {
    let program = program();
    let kills = std::env::var("DPQ_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let (straight, killed) = (Folder::new(), Folder::new());
    for folder in [&straight, &killed] {
        folder.write_part("train", &random_text(12_000, 1));
    }
    let arguments = "--epochs 3 --embedding full,sx,vq --save-every 0.0002 --quiet";
    let began = Instant::now();
    assert_succeeded(&straight.run_with_out(&program, arguments));
    let whole = began.elapsed();

    // Random moments within what a run takes, but for its start: each adds a little.
    let (mut random, mut done, mut seed) = (0, 0, 12345_u32);
    while done < kills {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let resume =
            if killed.at("out/full/checkpoint.safetensors").exists() { " --resume" } else { "" };
        let mut command = killed.command_with_out(&program, &format!("{arguments}{resume}"));
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(0.02 + 0.5 * f64::from(seed >> 16) / 65536.0));
        if run.try_wait().unwrap().is_some() {
            // It ended before: from the start again, so that there is something to kill.
            random += 1;
            fs::remove_dir_all(killed.at("out")).unwrap();
            assert!(random < 100, "runs end too soon");
            continue;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        killed.assert_whole();
        done += 1;
    }
    let resume =
        if killed.at("out/full/checkpoint.safetensors").exists() { " --resume" } else { "" };
    assert_succeeded(&killed.run_with_out(&program, &format!("{arguments}{resume}")));
    let models = ["full", "sx", "vq"];
    assert!(outcome(&killed, &models) == outcome(&straight, &models));
    println!("{done} kills");
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let program = program();
    let (straight, folder) = (Folder::new(), Folder::new());
    for folder in [&straight, &folder] {
        folder.write_part("train", &random_text(30_000, 1));
    }
    let arguments = "--epochs 2 --embedding sx";
    assert_succeeded(&straight.run_with_out(&program, arguments));
    let mut command = folder.command_with_out(&program, arguments);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&folder.at("out/sx/metrics.jsonl"), &mut run);
    let interrupted = Command::new("kill").args(["-INT", &run.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("sx: stopped after 1 epochs and "), "{said}");
    assert!(said.ends_with("the same command with --resume goes on from here\n"), "{said}");

    // Other settings, or no checkpoint, are refused by name with both values.
    let path = folder.at("out/sx/checkpoint.safetensors");
    for (flags, found, expected) in [
        ("--groups 4", "groups = 8", "groups = 4"),
        ("--codebook-size 8", "codebook-size = 16", "codebook-size = 8"),
        ("--seed 3", "seed = 0", "seed = 3"),
        ("--learning-rate 0.5", "learning-rate = 1", "learning-rate = 0.5"),
        ("--constant-epochs 1", "constant-epochs = 2", "constant-epochs = 1"),
        ("--decay 0.9", "decay = 0.5", "decay = 0.9"),
        ("--temperature 0.5", "temperature = 1", "temperature = 0.5"),
    ] {
        let refused =
            folder.run_with_out(&program, &format!("{arguments} --resume --quiet {flags}"));
        let message = format!("error: {}: found {found}, expected {expected}\n", path.display());
        assert_eq!((stderr(&refused), refused.status.code()), (&*message, Some(1)));
    }
    // Nothing is trained if one model cannot go on, whatever the others could do.
    let other = folder.run_with_out(&program, "--epochs 2 --embedding vq --resume");
    let expected = "found a checkpoint of sx, expected --embedding with sx\n";
    assert!(stderr(&other).ends_with(expected), "{}", stderr(&other));
    let both = folder.run_with_out(&program, "--epochs 2 --embedding full,sx --resume --beta 0.5");
    assert!(stderr(&both).ends_with("found beta = 0, expected beta = 0.5\n"), "{}", stderr(&both));
    assert!(!folder.at("out/full").exists());
    let elsewhere =
        folder.command(&program, "--embedding sx --resume --out").arg(folder.at("data")).output();
    assert!(stderr(&elsewhere.unwrap()).contains("no checkpoint of these models"));

    let resumed = folder.run_with_out(&program, &format!("{arguments} --resume"));
    assert_succeeded(&resumed);
    assert!(stderr(&resumed).contains("goes on after 1 epochs and "), "{}", stderr(&resumed));
    assert!(outcome(&folder, &["sx"]) == outcome(&straight, &["sx"]));
}

#[test]
fn the_report_shows_every_model_and_stays_with_its_run() {
    let program = program();
    let folder = Folder::new();
    assert_succeeded(&folder.run_with_out(&program, "--epochs 2 --embedding full,sx --quiet"));
    let report = fs::read_to_string(folder.at("out/report.html")).unwrap();
    for shown in ["<td>full</td>", "<td>sx</td>", "groups", "bigram counts", "<svg"] {
        assert!(report.contains(shown), "no {shown}");
    }
    for elsewhere in ["<script", "http-equiv", "<link", "@import", "url("] {
        assert!(!report.contains(elsewhere), "{elsewhere}");
    }
    assert_succeeded(&folder.run_with_out(&program, "--epochs 1 --embedding vq --quiet"));
    let moved = fs::read_to_string(folder.at("out/earlier/1/report.html")).unwrap();
    assert!(moved == report);
    let second = fs::read_to_string(folder.at("out/report.html")).unwrap();
    assert!(second.contains("earlier/1"), "earlier runs are shown beside this one");
}

#[test]
fn a_codebook_that_no_gradient_reaches_is_told_and_reported() {
    let program = program();
    let folder = Folder::new();
    let silent = "embedding.keys: the only codebook received no gradient for a whole epoch";
    // The softmax is so sharp that its gradient is 0.
    let arguments = "--epochs 2 --embedding sx,vq --temperature 1e-10 --quiet";
    let output = folder.run_with_out(&program, arguments);
    assert_succeeded(&output);
    let line = format!("warning: sx: {silent}\n");
    assert_eq!(stderr(&output), line.repeat(2));
    let report = fs::read_to_string(folder.at("out/report.html")).unwrap();
    assert_eq!(report.matches(silent).count(), 1, "of the last epoch");

    let output = folder.run(&program, "--epochs 1 --embedding full,sx,vq,random --quiet");
    assert_succeeded(&output);
    assert_eq!(stderr(&output), "");
}

#[test]
#[cfg(unix)]
fn a_second_run_into_a_folder_in_use_is_refused() {
    let program = program();
    let folder = Folder::new();
    folder.write_part("train", &random_text(60_000, 1));
    let mut command = folder.command_with_out(&program, "--epochs 50 --embedding sx");
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&folder.at("out/sx/metrics.jsonl"), &mut run);
    let second = folder.run_with_out(&program, "--epochs 1 --embedding sx");
    assert!(stderr(&second).contains("found another run in it"), "{}", stderr(&second));
    assert!(run.try_wait().unwrap().is_none());
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn tables_made_of_the_full_one_stand_beside_those_that_were_trained() {
    let program = program();
    let folder = Folder::new();
    let all = "full,low-rank,int8,int2,kmeans,kmeans-tuned,reconstructed,compressed,compressed-tuned,random";
    let output = folder.run_with_out(&program, &format!("--epochs 1 --embedding {all} --quiet"));
    assert_succeeded(&output);
    assert_eq!(models(&output).join(","), all);
    let bytes = |folder: &Folder| -> Vec<(String, u64)> {
        let result = fs::read(folder.at("out/result.json")).unwrap();
        let result: Value = serde_json::from_slice(&result).unwrap();
        let models = result["models"].as_array().unwrap().iter();
        let row = |m: &Value| {
            (m["embedding"].as_str().unwrap().into(), m["table_bytes"].as_u64().unwrap())
        };
        models.map(row).collect()
    };
    let found = bytes(&folder);
    let of = |name: &str| found.iter().find(|(own, _)| own == name).unwrap().1;
    assert!(of("full") > of("int8") && of("int8") > of("int2"));
    assert_eq!([of("kmeans"), of("kmeans-tuned"), of("reconstructed")], [of("random"); 3]);
    assert!(of("low-rank") <= of("kmeans"));
    assert!(of("compressed") <= of("kmeans"));
    assert_eq!(of("compressed-tuned"), of("compressed"));

    // What the full table is made into may be decided later, since it depends on none of it.
    let arguments = "--epochs 1 --embedding full,low-rank,kmeans,random --quiet --resume";
    let other = folder.run_with_out(&program, &format!("{arguments} --groups 4"));
    assert!(stderr(&other).contains("groups = 8"), "{}", stderr(&other));
    for trained in ["low-rank", "random"] {
        fs::remove_dir_all(folder.at(&format!("out/{trained}"))).unwrap();
    }
    let arguments = "--epochs 1 --embedding full,kmeans --quiet --resume --groups 4";
    assert_succeeded(&folder.run_with_out(&program, arguments));
    assert_ne!(bytes(&folder)[1].1, of("kmeans"));
}

#[test]
fn options_are_those_of_a_form_and_trained_with_it() {
    let program = program();
    let folder = Folder::new();
    for (arguments, expected) in [
        ("--embedding vq --sampling", "embedding = vq: expected sx, the only one with --score"),
        ("--embedding sx --moving-average", "embedding = sx: expected vq, the only one with"),
        ("--embedding int8,full", "embedding = int8,full: expected full before what is made of it"),
        ("--temperature learnable:0", "temperature = 0: expected a positive number"),
        ("--bands 5:16", "bands = 5:16: expected fewer codewords than the codebook's 16"),
        ("--embedding full,low-rank --rank 0", "error: rank = 0: expected 1 to "),
        ("--bands 5:8,20:4", "bands = 5:8,20:4: expected first words below the vocabulary of 10"),
        ("--embedding full --rank 3", "embedding = full: expected low-rank"),
        ("--embedding full --beta 0.1", "embedding = full: expected sx or vq"),
        (
            "--embedding full,kmeans --additive",
            "expected none that is cut into groups after training with --additive",
        ),
    ] {
        let output = folder.run(&program, &format!("--epochs 1 {arguments}"));
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        assert!(stderr(&output).contains(expected), "{arguments}: {}", stderr(&output));
    }
    for arguments in ["--temperature cold", "--bands 5-6", "--score best"] {
        let output = folder.run(&program, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", stderr(&output));
    }
    for arguments in [
        "--embedding sx --score cosine --temperature learnable:1 --sampling --kmeans-start",
        "--embedding sx --score squared-distance --temperature annealed:2:0.5:20 --beta 0.1",
        "--embedding vq --moving-average 0.9:0.00001:0.1 --bands 3:8,6:2",
        "--embedding sx,vq --additive --groups 3",
    ] {
        let straight = folder.run_with_out(&program, &format!("--epochs 2 --quiet {arguments}"));
        assert_succeeded(&straight);
        assert_eq!(stderr(&straight), "", "{arguments}");
        let tables = || -> Vec<Vec<u8>> {
            let folders = ["sx", "vq"].map(|name| folder.at(&format!("out/{name}")));
            let table = |folder: PathBuf| fs::read(folder.join("embedding.safetensors")).ok();
            folders.into_iter().filter_map(table).collect()
        };
        let expected = tables();
        // An epoch, and then another, ends with the same bytes.
        let first = format!("--epochs 1 --quiet {arguments}");
        assert_succeeded(&folder.run_with_out(&program, &first));
        let second = format!("--epochs 2 --quiet --resume {arguments}");
        assert_succeeded(&folder.run_with_out(&program, &second));
        assert!(tables() == expected, "{arguments}");
    }
}
