//! Which codewords are used.

use super::Report;
use super::picture::{TEXT, WIDTH, font, picture, rgb};
use super::style::HEAT;
use super::text::{escape, figure, percent, section, table, thousands};
use dpq::pq::Usage;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fmt::Write;
use std::ops::Range;

/// Most groups and codewords of a map of use; of more, means are shown.
const MAP: (usize, usize) = (50, 64);

/// From so many times the even use on.
const CLASSES: [(f64, &str); 6] = [
    (0.0, "below ¼ of even use"),
    (0.25, "¼ to ½"),
    (0.5, "½ to 1"),
    (1.0, "1 to 2"),
    (2.0, "2 to 4"),
    (4.0, "above 4 times"),
];

/// The mean count of a piece of the map, as one of the [`HEAT`] classes.
fn class(usage: &Usage, groups: &Range<usize>, codewords: &Range<usize>, even: f64) -> usize {
    let size = usage.codebook_size();
    let rows = usage.counts()[groups.start * size..].chunks(size).take(groups.len());
    let words: f64 = rows.map(|row| row[codewords.clone()].iter().sum::<f64>()).sum();
    if words == 0.0 {
        return 0;
    }
    let mean = words / (groups.len() * codewords.len()) as f64;
    CLASSES.iter().take_while(|(least, _)| mean >= least * even).count()
}

/// Ranges of equal size, but for the last one, that cut `0..n` into at most `most`.
fn bins(n: usize, most: usize) -> Vec<Range<usize>> {
    let size = n.div_ceil(most).max(1);
    (0..n).step_by(size).map(|start| start..(start + size).min(n)).collect()
}

pub fn usages(report: &Report) -> String {
    let mut html = String::new();
    for model in &report.models {
        let Some(usage) = &model.usage else { continue };
        html += &usage_figure(&model.name, usage);
    }
    if html.is_empty() {
        return html;
    }
    let mut key = String::from("<p class=\"legend\">Words that use a codeword: ");
    let classes = std::iter::once("none").chain(CLASSES.iter().map(|(_, text)| *text));
    for (i, text) in classes.enumerate() {
        let _ = write!(
            key,
            "<span><i class=\"heat\" style=\"background:var(--h{i})\"></i>{}</span> ",
            escape(text)
        );
    }
    key += "</p>\n";
    section("Use of codewords", &format!("{key}<div class=\"pair\">\n{html}</div>\n"))
}

fn usage_figure(name: &str, usage: &Usage) -> String {
    let (groups, size) = (usage.groups(), usage.codebook_size());
    let (rows, columns) = (bins(groups, MAP.0), bins(size, MAP.1));
    let even = usage.total() / size as f64;

    let height = (500 / rows.len()).clamp(8, 40) * rows.len();
    let (left, top) = (90, 56);
    let width = WIDTH as usize - left - 4;
    let pixels = (WIDTH, (top + height + 64) as u32);
    let svg = picture(pixels, &format!("{name}: use of codewords by group"), |area| {
        let column = |j: usize| (left + j * width / columns.len()) as i32;
        let row = |g: usize| (top + g * height / rows.len()) as i32;
        for (g, groups) in rows.iter().enumerate() {
            // Neighbours of a class are one rectangle.
            let mut start = 0;
            let classes: Vec<_> =
                columns.iter().map(|codewords| class(usage, groups, codewords, even)).collect();
            for same in classes.chunk_by(|a, b| a == b) {
                let end = start + same.len();
                let corners = [(column(start), row(g)), (column(end), row(g + 1))];
                area.draw(&Rectangle::new(corners, rgb(HEAT[same[0]].0).filled()))?;
                start = end;
            }
        }
        let text = |text: &str, at: (i32, i32), h, v| {
            area.draw(&Text::new(text.to_string(), at, font(&TEXT).pos(Pos::new(h, v))))
        };
        let (bottom, right) = (row(rows.len()), column(columns.len()));
        text("group", (0, top as i32 - 12), HPos::Left, VPos::Bottom)?;
        text("1", (left as i32 - 12, row(0) + 12), HPos::Right, VPos::Center)?;
        if groups > 1 {
            let last = (left as i32 - 12, bottom - 12);
            text(&groups.to_string(), last, HPos::Right, VPos::Center)?;
        }
        text("1", (left as i32, bottom + 12), HPos::Left, VPos::Top)?;
        text("codeword", ((left as i32 + right) / 2, bottom + 12), HPos::Center, VPos::Top)?;
        text(&size.to_string(), (right, bottom + 12), HPos::Right, VPos::Top)
    });

    let (unused, all) = (usage.dead(), usage.counts().len());
    let share = percent(unused as f64 / all as f64);
    let sentence = format!(
        "{name}: {} of {} codewords ({share}) are used by no word; the more even a row, the more its \
         codes say.",
        thousands(unused),
        thousands(all)
    );
    let mut notes = Vec::new();
    if rows.len() < groups || columns.len() < size {
        notes.push(format!(
            "A field is the mean of {} groups x {} codewords.",
            rows[0].len(),
            columns[0].len()
        ));
    }
    let table_rows: Vec<_> = usage
        .of_groups()
        .enumerate()
        .map(|(g, group)| {
            vec![
                (g + 1).to_string(),
                thousands(group.used),
                format!("{:.1}", group.perplexity),
                percent(group.largest),
            ]
        })
        .collect();
    let titles = ["group", "codewords used", "effective number", "words of the most used"];
    figure(&svg, &sentence, &notes, "", &table(&titles, 0..4, &table_rows))
}
