//! The words that the rows of a compact table belong to.

use crate::error::{Error, Result};
use std::collections::HashMap;

/// A name for every row of a table, each one once.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// All names, each followed by a line break.
    text: String,
    /// Where each name ends in the text.
    ends: Vec<usize>,
    ids: HashMap<String, u32>,
}

impl Names {
    /// Names in the order of the rows.
    ///
    /// # Errors
    /// [`Error::Config`] if a name holds a line break, or comes twice.
    pub fn new(names: &[impl AsRef<str>]) -> Result<Names> {
        let mut all = Names { text: String::new(), ends: Vec::new(), ids: HashMap::new() };
        for (id, name) in (0..).zip(names) {
            let name = name.as_ref();
            let refuse = |expected: String| {
                Err(Error::Config { name: "name", value: format!("{name:?}"), expected })
            };
            if name.contains('\n') {
                return refuse("no line break".into());
            }
            if let Some(other) = all.ids.insert(name.into(), id) {
                return refuse(format!("another name than that of row {other}"));
            }
            all.text.push_str(name);
            all.ends.push(all.text.len());
            all.text.push('\n');
        }
        Ok(all)
    }

    /// From the [text](Self::text) of names.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if the text does not end with a line break.
    pub fn from_text(text: &str) -> Result<Names> {
        let Some(lines) = text.strip_suffix('\n') else {
            let expected = "a line break at its end".into();
            let last = text.lines().last().unwrap_or_default();
            return Err(Error::Config { name: "names", value: format!("{last:?}"), expected });
        };
        Names::new(&lines.split('\n').collect::<Vec<_>>())
    }

    /// All names in order, each followed by a line break: what a file holds.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name of a row.
    pub fn name(&self, id: u32) -> Option<&str> {
        let end = *self.ends.get(id as usize)?;
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] + 1 };
        Some(&self.text[start..end])
    }

    /// The row of a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_both_ways_and_read_back() {
        let names = Names::new(&["the", "", "na\u{ef}ve", "a b"]).unwrap();
        assert_eq!(Names::from_text(names.text()).unwrap(), names);
        for id in 0..4 {
            assert_eq!(names.id(names.name(id).unwrap()), Some(id));
        }
        assert_eq!((names.name(4), names.id("The"), names.len()), (None, None, 4));
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let refused = |names: &[&str]| Names::new(names).unwrap_err().to_string();
        assert_eq!(refused(&["a\nb"]), "name = \"a\\nb\": expected no line break");
        assert_eq!(refused(&["a", "a"]), "name = \"a\": expected another name than that of row 0");
        let cut = Names::from_text("a\nb").unwrap_err().to_string();
        assert_eq!(cut, "names = \"b\": expected a line break at its end");
    }
}
