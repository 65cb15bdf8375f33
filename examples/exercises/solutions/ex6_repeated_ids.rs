//! Solution of exercise 6: repeated ids.

use crate::case::{Distinct, N, Rows};

pub fn distinct(ids: &[u32; N], dy: &Rows) -> Vec<Distinct> {
    let mut found: Vec<Distinct> = Vec::new();
    for (&id, &dy) in ids.iter().zip(dy) {
        match found.iter_mut().find(|known| known.id == id) {
            None => found.push(Distinct { id, count: 1, dy }),
            Some(known) => {
                known.count += 1;
                let sums = known.dy.as_flattened_mut().iter_mut();
                sums.zip(dy.as_flattened()).for_each(|(sum, dy)| *sum += dy);
            }
        }
    }
    found
}
