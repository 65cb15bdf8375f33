//! The attention of a few sentences, as tables.

use crate::common::report::text::escape;
use std::fmt::Write;

/// Sentences that are shown.
const SHOWN: usize = 3;

/// The first sentences of a length that is shown well.
pub fn shown(sources: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let good = sources.iter().filter(|source| (4..=12).contains(&source.len()));
    good.take(SHOWN).cloned().collect()
}

/// A row for each target word, a column for each source word, each cell the darker the more attention the
/// one pays to the other.
pub fn html(source: &[String], target: &[String], attention: &[Vec<f64>]) -> String {
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\">\n<table class=\"confusion\">\n<thead>\n<tr><td></td>",
    );
    for word in source {
        let _ = write!(html, "<th scope=\"col\"><bdi>{}</bdi></th>", escape(word));
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    for (word, weights) in target.iter().zip(attention) {
        let _ = write!(html, "<tr><th scope=\"row\"><bdi>{}</bdi></th>", escape(word));
        for weight in weights {
            let percent = (100.0 * weight).round();
            let shade = 0.6 * percent;
            let _ = write!(html, "<td style=\"--shade:{shade:.0}%\">{percent}</td>");
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table>\n</div>\n<p>Percent of the attention of each word of the translation.</p>\n"
}
