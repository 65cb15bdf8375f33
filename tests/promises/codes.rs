//! What is told of codes, against the plainest way to find it out.

use dpq::pq::{Usage, nearest_rows};
use dpq::{CodeTable, Tensor};
use proptest::collection::vec;
use proptest::prelude::*;

/// Rows of codes, `groups` each, below a codebook size.
fn tables() -> impl Strategy<Value = (Vec<Vec<u32>>, usize, usize)> {
    let size = prop_oneof![2..9_usize, Just(300), Just(65536)];
    (0..30_usize, 1..5_usize, size).prop_flat_map(|(rows, groups, size)| {
        // Few different codes, so that some are used often and rows are equally near.
        let code = prop_oneof![3 => 0..3.min(size as u32), 1 => 0..size as u32];
        (vec(vec(code, groups), rows), Just(groups), Just(size))
    })
}

fn packed(rows: &[Vec<u32>], groups: usize, size: usize) -> CodeTable {
    CodeTable::pack(&rows.concat(), groups, size)
}

proptest! {
    #[test]
    fn usage_is_that_of_every_code_counted_by_itself((rows, groups, size) in tables()) {
        let usage = Usage::of(&packed(&rows, groups, size));
        let (mut used, mut ids) = (0, Vec::new());
        for g in 0..groups {
            let found = usage.group(g);
            let (mut entropy, mut largest) = (0.0_f64, 0);
            ids.clear();
            for code in 0..size as u32 {
                let count = rows.iter().filter(|row| row[g] == code).count();
                prop_assert_eq!(usage.counts()[g * size + code as usize], count as f64);
                if count == 0 {
                    ids.push(code);
                    continue;
                }
                let share = count as f64 / rows.len() as f64;
                entropy -= share * share.ln() / 2.0_f64.ln();
                largest = largest.max(count);
            }
            prop_assert_eq!(found.used + found.dead, size);
            prop_assert_eq!(usage.dead_codewords(g).collect::<Vec<_>>(), &ids[..]);
            prop_assert_eq!(found.dead, ids.len());
            prop_assert!((found.entropy - entropy).abs() < 1e-12, "{} {}", found.entropy, entropy);
            prop_assert_eq!(found.largest, largest as f64 / rows.len().max(1) as f64);
            let perplexity = if rows.is_empty() { 0.0 } else { 2.0_f64.powf(entropy) };
            prop_assert!((found.perplexity - perplexity).abs() < 1e-9);
            prop_assert!(found.perplexity <= found.used as f64 * (1.0 + 1e-12));
            used += found.used;
        }
        prop_assert_eq!((usage.used(), usage.used() + usage.dead()), (used, groups * size));
        prop_assert_eq!(usage.total(), rows.len() as f64);
    }

    #[test]
    fn a_weight_counts_as_so_many_rows(
        (rows, groups, size) in tables(),
        weights in vec(0..4_usize, 30),
    ) {
        let repeated: Vec<Vec<u32>> =
            rows.iter().zip(&weights).flat_map(|(row, &n)| vec![row.clone(); n]).collect();
        let weights: Vec<f64> = weights[..rows.len()].iter().map(|&n| n as f64).collect();
        let weighted = Usage::weighted(&packed(&rows, groups, size), &weights).unwrap();
        prop_assert_eq!(weighted, Usage::of(&packed(&repeated, groups, size)));
    }

    #[test]
    fn nearest_codes_are_the_first_of_all_sorted_by_distance((rows, groups, size) in tables()) {
        let codes = packed(&rows, groups, size);
        for (i, row) in rows.iter().enumerate() {
            let mut all: Vec<(usize, u32)> = Vec::new();
            for (j, other) in rows.iter().enumerate().filter(|(j, _)| *j != i) {
                let differ = (0..groups).filter(|&g| row[g] != other[g]).count();
                all.push((differ, j as u32));
            }
            all.sort();
            for n in [0, 1, 3, 100] {
                let expected: Vec<_> = all.iter().take(n).map(|&(differ, j)| (j, differ)).collect();
                prop_assert_eq!(codes.nearest(i as u32, n).unwrap(), expected);
            }
        }
    }

    #[test]
    fn nearest_rows_are_the_first_of_all_sorted_by_cosine(
        rows in vec(vec(prop_oneof![2 => -1..2_i8, 1 => -9..10_i8], 3), 1..20),
    ) {
        let table = Tensor::from_fn([rows.len(), 3], |i| f32::from(rows[i / 3][i % 3]));
        let dot = |a: &[i8], b: &[i8]| {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        for (i, row) in rows.iter().enumerate() {
            let found = nearest_rows(&table, i as u32, 100).unwrap();
            let mut ids: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
            for &(id, similarity) in &found {
                let other = &rows[id as usize];
                let lengths = (dot(row, row) * dot(other, other)).sqrt();
                let expected = if lengths == 0.0 { 0.0 } else { dot(row, other) / lengths };
                prop_assert!((similarity - expected).abs() < 1e-12, "{} {}", similarity, expected);
            }
            for pair in found.windows(2) {
                let ((a, near), (b, far)) = (pair[0], pair[1]);
                prop_assert!(near > far || near == far && a < b, "{:?}", pair);
            }
            prop_assert_eq!(&nearest_rows(&table, i as u32, 2).unwrap()[..], &found[..found.len().min(2)]);
            ids.sort();
            let others: Vec<u32> = (0..rows.len() as u32).filter(|&j| j != i as u32).collect();
            prop_assert_eq!(ids, others);
        }
    }
}
