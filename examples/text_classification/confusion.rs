//! Which labels were taken for which.

use crate::common::report::text::{escape, percent};
use std::fmt::Write;

/// How often texts of each label were given each label.
pub struct Confusion<'a> {
    labels: &'a [String],
    /// labels x labels, the true ones first.
    counts: Vec<usize>,
}

impl<'a> Confusion<'a> {
    pub fn new(labels: &'a [String], classes: &[u32], found: &[u32]) -> Self {
        let mut counts = vec![0; labels.len() * labels.len()];
        for (&class, &found) in classes.iter().zip(found) {
            counts[class as usize * labels.len() + found as usize] += 1;
        }
        Confusion { labels, counts }
    }

    /// A table, each cell the darker the larger its share of the label's texts is.
    pub fn html(&self) -> String {
        let mut html = String::from(
            "<p>Rows are the true labels, columns those that were given; the last column is the \
             share of a label's texts that were given it.</p>\n<div class=\"scroll\" tabindex=\"0\">\n\
             <table class=\"confusion\">\n<thead>\n<tr><th scope=\"col\">label</th>",
        );
        for label in self.labels {
            let _ = write!(html, "<th scope=\"col\">{}</th>", escape(label));
        }
        html += "<th scope=\"col\">found</th></tr>\n</thead>\n<tbody>\n";
        for (i, counts) in self.counts.chunks(self.labels.len()).enumerate() {
            let all: usize = counts.iter().sum();
            let share = |count: usize| count as f64 / all.max(1) as f64;
            let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape(&self.labels[i]));
            for &count in counts {
                let shade = (60.0 * share(count)).round();
                let _ = write!(html, "<td style=\"--shade:{shade}%\">{count}</td>");
            }
            let _ = writeln!(html, "<td>{}</td></tr>", percent(share(counts[i])));
        }
        html + "</tbody>\n</table>\n</div>\n"
    }
}
