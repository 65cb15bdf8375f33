//! The report of a run: that it is well-formed whatever it holds, leaves out what cannot be shown, and
//! gathers what is known of other runs.

#[path = "../examples/common/report/mod.rs"]
mod report;

use dpq::pq::{Usage, nearest_rows};
use dpq::{CodeTable, Tensor};
use report::{
    EpochReport, KnownRun, Measure, ModelReport, Neighbours, REPORT, Report, THIS_RUN, html,
    known_runs,
};
use std::fs;
use std::time::{Duration, Instant};

/// Checks that a page is well-formed XML after its first line: tags are closed in turn, attributes
/// quoted and given once, and every `&` is the start of an entity. Returns its elements.
#[track_caller]
fn check(page: &str) -> Elements {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    let (mut open, mut seen) = (Vec::<&str>::new(), Vec::new());
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('/') {
            let (name, after) = after.split_once('>').expect("an end of the tag");
            assert_eq!(open.pop(), Some(name), "before {:.80}", after);
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
        let name = &rest[..end];
        assert!(!name.is_empty(), "a tag without name: {rest:.80}");
        seen.push(name.to_string());
        rest = &rest[end..];
        let mut attributes = Vec::new();
        loop {
            if let Some(after) = rest.strip_prefix("/>") {
                rest = after;
                break;
            }
            if let Some(after) = rest.strip_prefix('>') {
                open.push(name);
                rest = after;
                break;
            }
            let (attribute, after) = rest.split_once("=\"").expect("a quoted attribute");
            let attribute = attribute.strip_prefix(' ').expect("a space before it");
            assert!(
                attribute.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{attribute}"
            );
            assert!(!attributes.contains(&attribute), "{attribute} twice");
            attributes.push(attribute);
            let (value, after) = after.split_once('"').expect("an end of the attribute");
            check_text(value);
            assert!(!value.contains('<'), "{value}");
            rest = after;
        }
    }
    assert_eq!((rest, open.len()), ("\n", 0));
    Elements(seen)
}

/// The names of all elements of a page.
struct Elements(Vec<String>);

impl Elements {
    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|&other| other == name).count()
    }
}

#[track_caller]
fn check_text(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{ffff}'), "{text:?}");
    for part in text.split('&').skip(1) {
        let entity = part.split_once(';').expect("an entity").0;
        assert!(["lt", "gt", "amp", "quot", "apos", "#39"].contains(&entity), "{entity}");
    }
}

/// Fractions that look drawn at random, the same every time.
fn fractions() -> impl FnMut() -> f64 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    }
}

fn model(name: &str, epochs: usize, floor: f64, table_bytes: usize, codes: bool) -> ModelReport {
    let mut fraction = fractions();
    let epoch = |i: usize| EpochReport {
        epoch: i + 1,
        train: 0.6 * floor + 500.0 * (-0.5 * i as f64).exp() + 2.0 * fraction(),
        valid: floor + 250.0 * (-0.6 * i as f64).exp() + fraction(),
        codes_changed: codes.then(|| 0.6 * (-0.3 * i as f64).exp()),
        seconds: 41.0 + fraction(),
        tokens_per_second: 21_000.0 + 800.0 * fraction(),
    };
    let epochs: Vec<_> = (0..epochs).map(epoch).collect();
    ModelReport {
        sections: Vec::new(),
        name: name.into(),
        finished: true,
        epochs,
        test: Some(0.96 * floor),
        table_bytes,
        full_bytes: 8_000_000,
        usage: codes.then(|| skewed_usage(25, 32, 10_000)),
        neighbours: (0..20).map(|i| words(i, codes)).collect(),
        warnings: vec![],
    }
}

/// Few codewords are used a lot, and most of the first group not at all.
fn skewed_usage(groups: usize, codebook_size: usize, words: usize) -> Usage {
    let mut fraction = fractions();
    let mut codes = Vec::new();
    for _ in 0..words {
        for group in 0..groups {
            let skew = 1.0 + 3.0 * (group % 7) as f64 / 7.0;
            let range = codebook_size as f64 * if group == 0 { 0.3 } else { 1.0 };
            let code = (range * fraction().powf(skew)) as usize;
            codes.push(((code * 13 + 5 * group) % codebook_size) as u32);
        }
    }
    Usage::of(&CodeTable::pack(&codes, groups, codebook_size))
}

fn words(i: usize, codes: bool) -> Neighbours {
    const WORDS: [&str; 20] = [
        "the",
        "<unk>",
        "N",
        "company",
        "\"",
        "million",
        "'s",
        "market",
        "&",
        "stock",
        "president",
        "billion",
        "u.s.",
        "שלום",
        "shares",
        "trading",
        "sales",
        "federal",
        "government",
        "</s>",
    ];
    let from = |start: usize, count| {
        (start..start + count).map(|j| WORDS[j % WORDS.len()].to_string()).collect()
    };
    Neighbours {
        word: WORDS[i].into(),
        by_code: from(i + 1, if codes { 6 } else { 0 }),
        by_vector: from(i + 2, 6),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

/// A run of three models, the last one in training, with eight known ones.
pub fn sample() -> Report {
    let full = model("full", 15, 120.0, 8_000_000, false);
    let sx = model("sx", 15, 114.0, 157_250, true);
    let mut vq = model("vq", 9, 117.5, 157_250, true);
    (vq.finished, vq.test) = (false, None);
    vq.warnings.push("group 1 uses 9 of 32 codewords".into());
    let known = [
        (THIS_RUN, "full", 8_000_000, 115.2),
        (THIS_RUN, "sx", 157_250, 109.4),
        ("earlier/1", "full", 8_000_000, 116.0),
        ("earlier/1", "sx", 157_250, 110.9),
        ("earlier/1", "vq", 157_250, 111.8),
        ("earlier/2", "sx", 64_850, 112.7),
        ("earlier/3", "sx", 313_000, 108.9),
        ("earlier/4", "random", 157_250, 131.0),
    ];
    let run = |(label, embedding, table_bytes, test): (&str, &str, usize, f64)| KnownRun {
        label: label.into(),
        embedding: embedding.into(),
        table_bytes,
        valid: Some(1.04 * test),
        test: Some(test),
        data: Some("a text".into()),
    };
    Report {
        measure: Measure::Perplexity,
        title: "Language models on data/ptb".into(),
        settings: vec![
            pair("preset", "small"),
            pair("width", "200"),
            pair("groups, D", "25"),
            pair("codebook size, K", "32"),
            pair("seed", "0"),
            pair("data", "/home/someone/texts/penn-treebank/simple-examples/data"),
        ],
        machine: vec![pair("system", "linux x86_64"), pair("threads", "2")],
        models: vec![full, sx, vq],
        yardsticks: vec![
            ("unigram counts".into(), 650.0),
            ("bigram counts".into(), 178.2),
            ("true model".into(), 101.5),
        ],
        data: Some("a text".into()),
        runs: known.into_iter().map(run).collect(),
        warnings: vec!["earlier/7, result.json: expected value at line 1 column 1".into()],
    }
}

#[test]
fn a_run_is_shown_whole_and_the_same_every_time() {
    let report = sample();
    let start = Instant::now();
    let page = html(&report);
    let elapsed = start.elapsed();
    println!("{} bytes of {REPORT} in {elapsed:?}", page.len());
    assert!(elapsed < Duration::from_secs(1));
    assert_eq!(page, html(&report.clone()));

    let elements = check(&page);
    let pictures = page.matches("<svg role=\"img\"").count();
    // Two curves, quality, changes, two maps; each with a sentence and a table.
    assert_eq!((pictures, elements.count("figure"), elements.count("figcaption")), (6, 6, 6));
    assert_eq!(page.matches("The figures as a table").count(), 6);
    for text in [
        "2 of 3 models are finished",
        "the table of sx is 50.9 times smaller than that of full, its perplexity 5.0% lower",
        "Hollow: perplexity of the validation data",
        "<b>vq</b>: group 1 uses 9 of 32 codewords",
        "earlier/7, result.json: expected value",
        "earlier/4",
        "bigram counts",
        "penn-treebank",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // Every colour of a picture is one that the style sheet knows.
    let pictures = &page[page.find("<body>").unwrap()..];
    for attribute in ["fill=\"#", "stroke=\"#"] {
        for (at, _) in pictures.match_indices(attribute) {
            let colour = &pictures[at..at + attribute.len() + 7];
            assert!(page.contains(&format!("svg [{colour}]{{")), "{colour}");
        }
    }
    // Nothing from elsewhere; the only address is the name of SVG.
    let addresses = page.matches("http").count();
    assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    assert!(!page.contains("<script") && !page.contains("url(") && !page.contains("@import"));
}

#[test]
fn words_of_any_text_are_escaped() {
    let nasty = "</table><script>\"'&\u{0}\u{1b}\u{ffff}";
    let mut report = sample();
    report.title = nasty.into();
    report.settings.push(pair(nasty, nasty));
    report.machine.push(pair(nasty, nasty));
    report.warnings.push(nasty.into());
    report.yardsticks.push((nasty.into(), 110.0));
    report.runs[5].label = nasty.into();
    report.runs[5].embedding = nasty.into();
    for model in &mut report.models {
        model.name = format!("{nasty}{}", model.name);
        model.warnings.push(nasty.into());
        model.neighbours[0].word = nasty.into();
        model.neighbours[0].by_vector = vec![nasty.into()];
    }
    let page = html(&report);
    let elements = check(&page);
    assert_eq!(elements.count("script"), 0);
    assert!(page.contains("<bdi>&lt;/table&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd}"));
}

#[test]
fn a_run_that_has_hardly_begun_has_a_report() {
    let elements = check(&html(&Report::default()));
    assert_eq!((elements.count("svg"), elements.count("h1")), (0, 1));

    let name = "full".to_string();
    let one = |epochs| Report {
        models: vec![ModelReport { name: name.clone(), epochs, ..Default::default() }],
        ..Default::default()
    };
    let page = html(&one(vec![]));
    assert_eq!(check(&page).count("svg"), 0);
    assert!(page.contains("no epoch") && page.contains("No epoch is finished yet"));

    let epoch = EpochReport {
        epoch: 1,
        train: 300.0,
        valid: 200.0,
        codes_changed: Some(0.0),
        seconds: 7000.0,
        tokens_per_second: 1e4,
    };
    // No bytes: nothing to be placed beside others.
    let page = html(&one(vec![epoch]));
    check(&page);
    assert!(page.contains("full has the lowest perplexity so far, 200.00 after epoch 1"));
    assert!(page.contains("1 h 56 min") && page.contains("1 figure that has no place"));
}

#[test]
fn figures_that_are_not_finite_are_left_out_and_said_to_be() {
    let mut report = sample();
    for (i, bad) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0].into_iter().enumerate()
    {
        let epoch = &mut report.models[1].epochs[i];
        (epoch.train, epoch.valid) = (bad, bad);
        (epoch.seconds, epoch.tokens_per_second) = (bad, bad);
        epoch.codes_changed = Some(bad);
        report.yardsticks.push(("yardstick".into(), bad));
        report.runs[3 + i].test = Some(bad);
    }
    report.models[1].test = Some(f64::NAN);
    let page = html(&report);
    check(&page);
    assert!(page.contains("5 figures that have no place on the axis are left out"));
    assert!(page.contains("not finite"));

    for value in [f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, 1e-300, 0.0, 1.0, 1e300] {
        for model in &mut report.models {
            for epoch in &mut model.epochs {
                (epoch.train, epoch.valid) = (value, value);
                epoch.codes_changed = Some(value);
                epoch.seconds = value;
                epoch.tokens_per_second = value;
            }
            model.epochs[0].train = 100.0;
            model.test = Some(value);
        }
        check(&html(&report));
    }
    report.models[0].epochs[0].epoch = usize::MAX;
    report.models[0].table_bytes = usize::MAX;
    check(&html(&report));
}

#[test]
fn a_table_is_compared_with_a_full_one_that_is_not_in_the_run() {
    let sx = model("sx", 3, 114.0, 157_250, true);
    let page = html(&Report { models: vec![sx], ..sample() });
    assert!(page.contains(">50.9<"));
}

#[test]
fn a_map_of_any_size_is_readable() {
    for (groups, size) in [(1, 2), (200, 65536), (7, 1000), (51, 65), (200, 2)] {
        let mut report = sample();
        let words = if size > 1000 { 500 } else { 2000 };
        report.models[1].usage = Some(skewed_usage(groups, size, words));
        report.models[2].usage = None;
        let start = Instant::now();
        let page = html(&report);
        println!("{groups} x {size}: {} bytes in {:?}", page.len(), start.elapsed());
        check(&page);
        assert!(page.len() < 600_000, "{}", page.len());
        let means = page.contains("A field is the mean of");
        assert_eq!(means, groups > 50 || size > 64, "{groups} x {size}");
    }
    let mut report = sample();
    report.models[1].usage = Some(Usage::of(&CodeTable::pack(&[], 2, 2)));
    let page = html(&report);
    check(&page);
    assert!(page.contains("sx: 4 of 4 codewords (100.0%) are used by no word"));
}

#[test]
fn runs_on_another_text_are_left_out() {
    let mut report = sample();
    report.models.clear();
    report.runs.truncate(1);
    let page = html(&report);
    assert_eq!(check(&page).count("figure"), 1);
    report.runs[0].data = Some("another text".into());
    assert_eq!(check(&html(&report)).count("figure"), 0);
    report.runs.push(KnownRun { data: Some("a text".into()), ..report.runs[0].clone() });
    let page = html(&report);
    assert_eq!(check(&page).count("figure"), 1);
    assert!(page.contains("1 model of earlier runs on other data left out."));
}

#[test]
fn known_runs_are_read_and_unreadable_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    assert_eq!(known_runs(out, Measure::Perplexity), (vec![], vec![]));

    let run = |bytes: &str, test: &str| {
        format!(
            "{{\"models\": [{{\"embedding\": \"sx\", \"valid_perplexity\": 5.5, {bytes} \
             \"test_perplexity\": {test}}}], \"data\": \"a text\"}}"
        )
    };
    let good = |test: &str| run("\"table_bytes\": 7,", test);
    fs::write(out.join("result.json"), good("4.5")).unwrap();
    let texts = [("2", good("null")), ("10", good("3")), ("1", "{".into()), ("x", run("", "1"))];
    for (name, text) in texts {
        let earlier = out.join("earlier").join(name);
        fs::create_dir_all(&earlier).unwrap();
        fs::write(earlier.join("result.json"), text).unwrap();
    }
    fs::create_dir(out.join("earlier/empty")).unwrap();

    let (runs, warnings) = known_runs(out, Measure::Perplexity);
    let found: Vec<_> = runs.iter().map(|run| (run.label.as_str(), run.test)).collect();
    let expected = [(THIS_RUN, Some(4.5)), ("earlier/2", None), ("earlier/10", Some(3.0))];
    assert_eq!(found, expected);
    let first = KnownRun {
        label: THIS_RUN.into(),
        embedding: "sx".into(),
        table_bytes: 7,
        valid: Some(5.5),
        test: Some(4.5),
        data: Some("a text".into()),
    };
    assert_eq!(runs[0], first);
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with("earlier/1, result.json: "), "{warnings:?}");
    assert_eq!(warnings[1], "earlier/x, result.json: a model without embedding or table_bytes");
}

#[test]
fn neighbours_of_twenty_words_take_no_time() {
    let (rows, width, groups) = (10_000, 200, 25);
    let mut fraction = fractions();
    let table = Tensor::from_fn([rows, width], |_| fraction() as f32);
    let codes: Vec<u32> = (0..rows * groups).map(|_| (32.0 * fraction()) as u32).collect();
    let codes = CodeTable::pack(&codes, groups, 32);
    let start = Instant::now();
    assert!((0..20).all(|word| codes.nearest(word, 8).unwrap().len() == 8));
    let between = start.elapsed();
    assert!((0..20).all(|word| nearest_rows(&table, word, 8).unwrap().len() == 8));
    println!("by code {between:?}, by vector {:?}", start.elapsed() - between);
    assert!(start.elapsed() < Duration::from_secs(5));
}
