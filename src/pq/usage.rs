//! How a table uses its codewords.

use super::codes::CodeTable;
use crate::error::{Error, Result};
use std::fmt;

/// How the rows of a whole table use the codewords of every group.
///
/// With w\[i\] the weight of row i, 1 unless [weights](Usage::weighted) are given:
///
/// ```text
/// count[g,j]    = sum of w[i] over the rows i with code[i,g] = j
/// p[g,j]        = count[g,j] / sum of all w
/// entropy[g]    = - sum over j of p[g,j] log2 p[g,j]        0 to log2 K bits
/// perplexity[g] = 2^entropy[g]                              so many codewords, used evenly, would be as even
/// ```
///
/// A codeword that no row uses is dead: it costs memory and holds nothing. A batch says little of that,
/// since a codeword may serve rare words alone; so this is of all rows.
///
/// The counts are kept, 8 D K bytes: 26 MB for 50 groups of 65536 codewords.
///
/// It prints itself as a table, a line for each group. There groups are counted from 1; `largest` is the
/// share of the rows that use the most used codeword. The last line has the sums of `used` and `dead`,
/// the means of entropy and perplexity, and the largest share of all.
///
/// ```
/// use dpq::CodeTable;
/// use dpq::pq::Usage;
/// let usage = Usage::of(&CodeTable::pack(&[0, 1, 1, 1, 2, 1, 3, 2], 2, 4));
/// assert_eq!(usage.counts(), [1.0, 1.0, 1.0, 1.0, 0.0, 3.0, 1.0, 0.0]);
/// let second = usage.group(1);
/// assert_eq!((second.used, second.dead), (2, 2));
/// let expected = "group  used  dead  entropy  perplexity  largest
///     1     4     0    2.000        4.00    25.0%
///     2     2     2    0.811        1.75    75.0%
///   all     6     2    1.406        2.88    75.0%
/// ";
/// assert_eq!(usage.to_string(), expected);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    groups: usize,
    codebook_size: usize,
    /// D x K
    counts: Vec<f64>,
    /// The sum of all weights, the same in every group.
    total: f64,
}

/// How the codewords of one group are used, or those of several taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupUsage {
    /// Codewords that at least one row uses.
    pub used: usize,
    /// The others.
    pub dead: usize,
    /// In bits, 0 to log2 K; 0 without any rows.
    pub entropy: f64,
    /// 2^entropy; 0 without any rows.
    pub perplexity: f64,
    /// The share of the rows that use the most used codeword; 0 without any rows.
    pub largest: f64,
}

impl GroupUsage {
    /// Of the counts of some codewords.
    fn of(counts: &[f64]) -> GroupUsage {
        let used = counts.iter().filter(|&&count| count > 0.0).count();
        let total = counts.iter().sum::<f64>();
        if used == 0 {
            let dead = counts.len();
            return GroupUsage { used, dead, entropy: 0.0, perplexity: 0.0, largest: 0.0 };
        }
        let (mut entropy, mut largest) = (0.0, 0.0_f64);
        // A share so small that it is rounded to 0 adds nothing.
        for share in counts.iter().map(|count| count / total).filter(|&share| share > 0.0) {
            entropy -= share * share.log2();
            largest = largest.max(share);
        }
        let dead = counts.len() - used;
        GroupUsage { used, dead, entropy, perplexity: entropy.exp2(), largest }
    }
}

impl Usage {
    /// Of all rows of a table, each with weight 1.
    pub fn of(codes: &CodeTable) -> Usage {
        Usage::count(codes, |_| 1.0)
    }

    /// Of all rows of a table, each with its own weight, such as the frequency of its word: then p\[g,j\]
    /// is the share of the text, and no longer of the vocabulary. A row of weight 0 uses nothing.
    ///
    /// ```
    /// use dpq::CodeTable;
    /// use dpq::pq::Usage;
    /// let codes = CodeTable::pack(&[0, 1, 2], 1, 3);
    /// let usage = Usage::weighted(&codes, &[0.5, 0.5, 0.0])?;
    /// assert_eq!((usage.group(0).entropy, usage.dead()), (1.0, 1));
    /// let error = Usage::weighted(&codes, &[1.0, -2.0, 0.0]).unwrap_err().to_string();
    /// assert_eq!(error, "weight = -2 of row 1: expected a finite number, 0 or more");
    /// # Ok::<(), dpq::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if the weights are not as many as the rows, or one is negative or not finite;
    /// [`Error::NotFinite`] if their sum is not.
    pub fn weighted(codes: &CodeTable, weights: &[f64]) -> Result<Usage> {
        if weights.len() != codes.rows() {
            let expected = format!("{}, one for each row", codes.rows());
            let value = weights.len().to_string();
            return Err(Error::Config { name: "weights", value, expected });
        }
        let wrong = |weight: &f64| !(weight.is_finite() && *weight >= 0.0);
        if let Some(row) = weights.iter().position(wrong) {
            let expected = "a finite number, 0 or more".into();
            let value = format!("{} of row {row}", weights[row]);
            return Err(Error::Config { name: "weight", value, expected });
        }
        let usage = Usage::count(codes, |row| weights[row]);
        if !usage.total.is_finite() {
            return Err(Error::NotFinite { what: "the sum of weights".into(), value: usage.total });
        }
        Ok(usage)
    }

    fn count(codes: &CodeTable, weight: impl Fn(usize) -> f64) -> Usage {
        let (groups, codebook_size) = (codes.groups(), codes.codebook_size());
        let mut counts = vec![0.0; groups * codebook_size];
        let mut total = 0.0;
        for row in 0..codes.rows() {
            total += weight(row);
            for (counts, code) in counts.chunks_exact_mut(codebook_size).zip(codes.row(row)) {
                counts[code as usize] += weight(row);
            }
        }
        Usage { groups, codebook_size, counts, total }
    }

    /// D
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// K
    pub fn codebook_size(&self) -> usize {
        self.codebook_size
    }

    /// count\[g, j\], D x K: for plots. Without weights they are whole numbers.
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// The sum of all weights: without weights, the rows.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The use of one group.
    ///
    /// # Panics
    /// If there is no such group.
    #[track_caller]
    pub fn group(&self, group: usize) -> GroupUsage {
        assert!(group < self.groups, "group {group} of {}", self.groups);
        GroupUsage::of(&self.counts[group * self.codebook_size..][..self.codebook_size])
    }

    /// The use of every group.
    pub fn of_groups(&self) -> impl ExactSizeIterator<Item = GroupUsage> + '_ {
        self.counts.chunks_exact(self.codebook_size).map(GroupUsage::of)
    }

    /// The use of a codebook that all groups share: the counts of a codeword are added over the groups,
    /// so that it is dead only if no group uses it.
    pub fn shared(&self) -> GroupUsage {
        let mut sums = vec![0.0; self.codebook_size];
        for counts in self.counts.chunks_exact(self.codebook_size) {
            // The mean over groups has the same shares, and is finite where the total is.
            let part = |(sum, count): (&mut f64, &f64)| *sum += count / self.groups as f64;
            sums.iter_mut().zip(counts).for_each(part);
        }
        GroupUsage::of(&sums)
    }

    /// How many of all D K codewords at least one row uses.
    pub fn used(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0.0).count()
    }

    /// How many of all D K codewords no row uses.
    pub fn dead(&self) -> usize {
        self.counts.len() - self.used()
    }

    /// The codewords of a group that no row uses, in increasing order.
    ///
    /// # Panics
    /// If there is no such group.
    #[track_caller]
    pub fn dead_codewords(&self, group: usize) -> impl Iterator<Item = u32> + '_ {
        assert!(group < self.groups, "group {group} of {}", self.groups);
        let counts = &self.counts[group * self.codebook_size..][..self.codebook_size];
        counts.iter().enumerate().filter(|(_, count)| **count == 0.0).map(|(code, _)| code as u32)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<GroupUsage> = self.of_groups().collect();
        let mean =
            |of: fn(&GroupUsage) -> f64| groups.iter().map(of).sum::<f64>() / self.groups as f64;
        let all = GroupUsage {
            used: self.used(),
            dead: self.dead(),
            entropy: mean(|group| group.entropy),
            perplexity: mean(|group| group.perplexity),
            largest: groups.iter().fold(0.0, |largest, group| group.largest.max(largest)),
        };
        let label = |i: usize| if i < self.groups { (i + 1).to_string() } else { "all".into() };
        let wide = |title: &str, n: usize| n.to_string().len().max(title.len());
        let (used, dead) = (wide("used", all.used), wide("dead", all.dead));
        writeln!(f, "group  {:>used$}  {:>dead$}  entropy  perplexity  largest", "used", "dead")?;
        for (i, group) in groups.iter().chain([&all]).enumerate() {
            writeln!(
                f,
                "{:>5}  {:>used$}  {:>dead$}  {:>7.3}  {:>10.2}  {:>6.1}%",
                label(i),
                group.used,
                group.dead,
                group.entropy,
                group.perplexity,
                100.0 * group.largest
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_use_is_exact_and_one_codeword_says_nothing() {
        let even: Vec<u32> = (0..128).map(|i| i % 32).collect();
        let usage = Usage::of(&CodeTable::pack(&even, 1, 32)).group(0);
        let expected =
            GroupUsage { used: 32, dead: 0, entropy: 5.0, perplexity: 32.0, largest: 1.0 / 32.0 };
        assert_eq!(usage, expected);

        let usage = Usage::of(&CodeTable::pack(&[3; 10], 1, 5));
        let expected = GroupUsage { used: 1, dead: 4, entropy: 0.0, perplexity: 1.0, largest: 1.0 };
        assert_eq!(usage.group(0), expected);
        assert_eq!(usage.dead_codewords(0).collect::<Vec<_>>(), [0, 1, 2, 4]);
    }

    #[test]
    fn a_table_without_rows_uses_nothing() {
        let usage = Usage::of(&CodeTable::pack(&[], 2, 3));
        assert_eq!((usage.used(), usage.dead(), usage.total()), (0, 6, 0.0));
        let nothing = GroupUsage { used: 0, dead: 3, entropy: 0.0, perplexity: 0.0, largest: 0.0 };
        assert_eq!((usage.group(1), usage.shared()), (nothing, nothing));
        assert!(!usage.to_string().contains("NaN"));
    }

    #[test]
    fn a_shared_codeword_is_dead_only_if_no_group_uses_it() {
        let usage = Usage::of(&CodeTable::pack(&[0, 1, 0, 1], 2, 3));
        assert_eq!((usage.used(), usage.dead()), (2, 4));
        let shared = usage.shared();
        assert_eq!((shared.used, shared.dead, shared.entropy), (2, 1, 1.0));
    }

    #[test]
    fn weights_of_any_size_are_counted_or_refused() {
        let codes = CodeTable::pack(&[0, 1, 1], 1, 3);
        let usage = Usage::weighted(&codes, &[1e308, 5e-324, 5e-324]).unwrap();
        assert_eq!((usage.used(), usage.group(0).entropy), (2, 0.0));
        let refused = |weights: &[f64]| Usage::weighted(&codes, weights).unwrap_err().to_string();
        assert_eq!(refused(&[1.0]), "weights = 1: expected 3, one for each row");
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            let expected =
                format!("weight = {weight} of row 2: expected a finite number, 0 or more");
            assert_eq!(refused(&[1.0, 1.0, weight]), expected);
        }
        assert_eq!(refused(&[1.7e308; 3]), "the sum of weights is inf: expected a finite number");
    }

    #[test]
    fn a_table_stays_narrow_for_large_codebooks() {
        let usage = Usage::of(&CodeTable::pack(&[65535; 50], 50, 65536));
        let text = usage.to_string();
        assert_eq!(text.lines().count(), 52);
        let first = text.lines().next().unwrap().len();
        assert!(text.lines().all(|line| line.len() == first && first < 60), "{text}");
        assert!(text.ends_with("  all    50  3276750    0.000        1.00   100.0%\n"), "{text}");
    }
}
