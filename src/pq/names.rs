//! The words that the rows of a compact table belong to.

use crate::error::{Error, Result};

/// A name for every row of a table, each one once.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// All names, each followed by a line break.
    text: String,
    /// Where each name ends in the text.
    ends: Vec<usize>,
    /// The rows in the order of their names.
    sorted: Vec<u32>,
}

impl Names {
    /// Names in the order of the rows.
    ///
    /// # Errors
    /// [`Error::Config`] if a name holds a line break, or comes twice.
    pub fn new(names: &[impl AsRef<str>]) -> Result<Names> {
        let mut text = String::new();
        for name in names.iter().map(AsRef::as_ref) {
            if name.contains('\n') {
                return refuse(name, "no line break".into());
            }
            text.push_str(name);
            text.push('\n');
        }
        Names::of(text)
    }

    /// Of a text whose lines are the names.
    fn of(text: String) -> Result<Names> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let ends: Vec<usize> = breaks.map(|(at, _)| at).collect();
        let mut names = Names { text, sorted: (0..ends.len() as u32).collect(), ends };
        let mut sorted = std::mem::take(&mut names.sorted);
        sorted.sort_unstable_by_key(|&id| (names.name(id), id));
        if let Some(pair) =
            sorted.windows(2).find(|pair| names.name(pair[0]) == names.name(pair[1]))
        {
            let name = names.name(pair[0]).unwrap_or_default();
            return refuse(name, format!("another name than that of row {}", pair[0]));
        }
        Ok(Names { sorted, ..names })
    }

    /// From the [text](Self::text) of names.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if the text does not end with a line break.
    pub fn from_text(text: &str) -> Result<Names> {
        if !text.ends_with('\n') {
            return refuse(text.lines().last().unwrap_or_default(), "a line break after it".into());
        }
        Names::of(text.into())
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
        let found = self.sorted.binary_search_by_key(&Some(name), |&id| self.name(id));
        found.ok().map(|at| self.sorted[at])
    }
}

fn refuse<R>(name: &str, expected: String) -> Result<R> {
    Err(Error::Config { name: "name", value: format!("{name:?}"), expected })
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
        assert_eq!(cut, "name = \"b\": expected a line break after it");
    }
}
