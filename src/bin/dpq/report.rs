//! The page of a compression: error against bytes of all that was tried, and how codewords are used.

use crate::Fault;
use crate::figures::Row;
use crate::inspect::bytes;
use crate::table::{Kind, Table};
use dpq::pq::{Compression, Usage};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// A split that was tried on some rows.
pub struct Tried {
    pub split: Compression,
    pub bytes: usize,
    pub error: f64,
}

/// The page in HTML, complete in itself.
///
/// # Errors
/// If the picture cannot be drawn.
pub fn page(
    input: &Path,
    table: &Table,
    file: usize,
    rows: &[Row],
    tried: &[Tried],
) -> Result<String, Fault> {
    let name = input.file_name().unwrap_or(input.as_os_str());
    let name = escaped(&name.to_string_lossy());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}, compressed</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n\
         body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}\n\
         table {{ border-collapse: collapse; }} td, th {{ padding: 0.2rem 0.8rem; text-align: right; }}\n\
         td:last-child, th:last-child {{ text-align: left; }} tr:nth-child(even) {{ background: #f4f4f4; }}\n\
         svg {{ max-width: 100%; height: auto; }} pre {{ overflow-x: auto; }}\n</style></head><body>\n\
         <h1>{name}, compressed</h1>\n<p>{} rows of width {}: {}.</p>\n",
        table.vocabulary(),
        table.width(),
        escaped(&table.settings())
    );
    page +=
        "<table><tr><th>bytes<th>times smaller<th>error<th>cosine<th>neighbours kept<th></tr>\n";
    for Row { name, bytes, ratio, quality } in rows {
        let neighbours = quality.neighbours_at_10.map_or("-".into(), |share| format!("{share:.3}"));
        page += &format!(
            "<tr><td>{bytes}<td>{ratio:.1}<td>{:.4}<td>{:.4}<td>{neighbours}<td>{}</tr>\n",
            quality.relative_squared_error,
            quality.mean_cosine,
            escaped(name)
        );
    }
    page += "</table>\n<p>The error is that of all rows together, ||x - y||&#178; over ||x||&#178;. Neighbours kept are those \
             among the ten nearest by cosine, of a sample of 300 rows.</p>\n<h2>Error against bytes</h2>\n";
    page += &chart(rows, tried)?;
    page += "<p>Grey: splits that were tried shortly, on some of the rows.</p>\n";
    if !tried.is_empty() {
        page +=
            "<table><tr><th>parts<th>codes a part<th>codewords<th>bytes<th>error when tried</tr>\n";
        for Tried { split, bytes, error } in tried {
            let each = split.groups / split.parts;
            let k = split.codebook_size;
            page += &format!(
                "<tr><td>{}<td>{each}<td>{k}<td>{bytes}<td>{error:.4}</tr>\n",
                split.parts
            );
        }
        page += "</table>\n";
    }
    page += &format!("<h2>Bytes of the file</h2>\n<pre>{}</pre>\n", bytes(table, file));
    if let Kind::Compact(compact) = &table.kind {
        page += &format!("<h2>Use of codewords</h2>\n<pre>{}</pre>\n", Usage::of(compact.codes()));
    }
    Ok(page + "</body></html>\n")
}

/// The picture of all errors, both axes logarithmic.
fn chart(rows: &[Row], tried: &[Tried]) -> Result<String, Fault> {
    // No error at all is no point of a logarithmic axis.
    let point = |bytes: usize, error: f64| (bytes as f64, error.max(1e-6));
    let own: Vec<(f64, f64)> =
        rows.iter().map(|row| point(row.bytes, row.quality.relative_squared_error)).collect();
    let short: Vec<(f64, f64)> =
        tried.iter().map(|tried| point(tried.bytes, tried.error)).collect();
    let all = || own.iter().chain(&short);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = all().map(of).fold(f64::INFINITY, f64::min);
        let most = all().map(of).fold(0.0, f64::max);
        0.7 * least..1.4 * most
    };
    let x = range(|p| p.0);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (800, 420)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(x.clone().log_scale(), range(|p| p.1).log_scale())?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_labels(6)
            .x_label_formatter(&|bytes| format!("{:.1} MB", bytes / 1e6))
            .x_desc("size of the file")
            .y_desc("relative squared error")
            .draw()?;
        chart.draw_series(
            short.iter().map(|&p| Circle::new(p, 4, RGBColor(150, 150, 150).filled())),
        )?;
        let middle = (x.start * x.end).sqrt();
        chart.draw_series(own.iter().zip(rows).enumerate().map(|(i, (&p, row))| {
            let label = if i == 0 { "this table" } else { row.name.as_str() };
            let left = p.0 > middle;
            let at = if left { HPos::Right } else { HPos::Left };
            let style =
                ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(at, VPos::Bottom));
            EmptyElement::at(p)
                + Circle::new((0, 0), 5, RGBColor(0, 90, 180).filled())
                + Text::new(label.to_string(), (if left { -8 } else { 8 }, -4), style)
        }))?;
        area.present()?;
    }
    Ok(svg)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
