//! Text, figures and the plain parts of a page.

use std::fmt::Write;
use std::ops::Range;

/// Text as HTML and XML take it, also in quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(printable(c)),
        }
    }
    escaped
}

/// The character, if XML can hold it and a reader see it.
pub fn printable(c: char) -> char {
    let not = c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    if not { char::REPLACEMENT_CHARACTER } else { c }
}

/// 1234567 as 1,234,567.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}%", 100.0 * share) } else { "not finite".into() }
}

pub fn seconds(x: f64) -> String {
    match x {
        x if !x.is_finite() => "not finite".into(),
        x if x < 100.0 => format!("{x:.1} s"),
        x if x < 6000.0 => format!("{:.0} min {:02.0} s", (x / 60.0).floor(), (x % 60.0).floor()),
        x => format!("{:.0} h {:02.0} min", (x / 3600.0).floor(), (x % 3600.0 / 60.0).floor()),
    }
}

pub fn or_dash<T>(x: Option<T>, text: impl Fn(T) -> String) -> String {
    x.map_or("–".into(), text)
}

/// At most four digits that count, on an axis.
pub fn short(x: f64) -> String {
    if !(1e-3..1e6).contains(&x) {
        return if x == 0.0 { "0".into() } else { format!("{x:.0e}") };
    }
    let digits = (3.0 - x.log10().floor()).max(0.0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

pub fn bytes(x: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(size, _)| x >= 0.9999 * size) {
        Some((size, unit)) => format!("{} {unit}", short(x / size)),
        None => format!("{} B", short(x)),
    }
}

/// A table; columns that hold figures are flush right.
pub fn table(titles: &[&str], figures: Range<usize>, rows: &[Vec<String>]) -> String {
    let class = |i: usize| if figures.contains(&i) { " class=\"n\"" } else { "" };
    let mut html = String::from("<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead>\n<tr>");
    for (i, title) in titles.iter().enumerate() {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(i), escape(title));
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    for row in rows {
        html += "<tr>";
        for (i, cell) in row.iter().enumerate() {
            let _ = match i {
                0 => write!(html, "<th scope=\"row\"{}>{}</th>", class(i), escape(cell)),
                _ => write!(html, "<td{}>{}</td>", class(i), escape(cell)),
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table>\n</div>\n"
}

pub fn details(summary: &str, open: bool, html: &str) -> String {
    let open = if open { " open=\"open\"" } else { "" };
    format!("<details{open}>\n<summary>{}</summary>\n{html}</details>\n", escape(summary))
}

/// A picture with the sentence that says what to see, notes, and the table behind it.
pub fn figure(svg: &str, sentence: &str, notes: &[String], key: &str, table: &str) -> String {
    let notes: String = notes.iter().map(|note| format!("<p>{}</p>\n", escape(note))).collect();
    format!(
        "<figure>\n<figcaption>\n<p>{}</p>\n{notes}</figcaption>\n{key}{svg}{}</figure>\n",
        escape(sentence),
        details("The figures as a table", false, table)
    )
}

pub fn section(title: &str, html: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{html}</section>\n", escape(title))
}

pub fn note_left_out(count: usize) -> Vec<String> {
    match count {
        0 => vec![],
        1 => vec!["1 figure that has no place on the axis is left out.".into()],
        _ => vec![format!("{count} figures that have no place on the axis are left out.")],
    }
}
