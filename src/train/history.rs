//! The history of a run: an epoch's figures, exact through every checkpoint.

use crate::io::StoredTensor;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// What an epoch gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// The mean over its steps of the number that [`Task::loss`](super::Task::loss) returned.
    pub train: f64,
    /// The learning rate, of its last step.
    pub learning_rate: f64,
    /// Seconds of its steps, validation and saving left out; over all interrupted parts.
    pub seconds: f64,
    /// What [`Task::validate`](super::Task::validate) returned. The first one is what the best model
    /// and early stopping go by: the lower the better.
    pub figures: Vec<(String, f64)>,
}

impl Epoch {
    /// The figure of this name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// The figure that the best model goes by.
    pub(super) fn score(&self) -> Option<f64> {
        self.figures.first().map(|(_, value)| *value)
    }
}

/// Names of the three figures that every epoch has.
const OWN: [&str; 3] = ["train", "learning_rate", "seconds"];

/// The history as tensors, one element an epoch: `train` and so on, and `figure.0.NAME`, numbered in
/// their order.
pub(super) fn to_tensors(history: &[Epoch]) -> Vec<(String, StoredTensor<'static>)> {
    let column = |name: String, of: &dyn Fn(&Epoch) -> f64| {
        let column = Tensor::from_fn([history.len()], |i| of(&history[i]));
        (name, StoredTensor::from_tensor(&column))
    };
    let mut tensors = vec![
        column(OWN[0].into(), &|epoch| epoch.train),
        column(OWN[1].into(), &|epoch| epoch.learning_rate),
        column(OWN[2].into(), &|epoch| epoch.seconds),
    ];
    for (i, (name, _)) in history.first().iter().flat_map(|epoch| epoch.figures.iter().enumerate())
    {
        tensors.push(column(format!("figure.{i:03}.{name}"), &|epoch| {
            epoch.figures.get(i).map_or(f64::NAN, |(_, value)| *value)
        }));
    }
    tensors
}

/// The history that such tensors are of, `None` if they are not.
pub(super) fn from_tensors(tensors: &BTreeMap<String, StoredTensor<'_>>) -> Option<Vec<Epoch>> {
    let column = |tensor: &StoredTensor<'_>| Some(tensor.to_tensor::<f64>()?.data().to_vec());
    let [train, learning_rate, seconds] = OWN.map(|name| tensors.get(name).and_then(column));
    let (train, learning_rate, seconds) = (train?, learning_rate?, seconds?);
    let mut figures = Vec::new();
    for (name, tensor) in tensors {
        if let Some((_, name)) = name.strip_prefix("figure.").and_then(|rest| rest.split_once('.'))
        {
            figures.push((name.to_string(), column(tensor)?));
        }
    }
    let epochs = train.len();
    let columns = [&train, &learning_rate, &seconds].into_iter();
    if !columns.chain(figures.iter().map(|(_, column)| column)).all(|c| c.len() == epochs) {
        return None;
    }
    let epoch = |i: usize| Epoch {
        epoch: i + 1,
        train: train[i],
        learning_rate: learning_rate[i],
        seconds: seconds[i],
        figures: figures.iter().map(|(name, column)| (name.clone(), column[i])).collect(),
    };
    Some((0..epochs).map(epoch).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_to_the_bit_with_its_figures_in_order() {
        let epoch = |i: usize| Epoch {
            epoch: i + 1,
            train: 0.1 + i as f64 / 3.0,
            learning_rate: 1e-3,
            seconds: 1.5,
            figures: vec![("z".into(), 1.0 / (i as f64 + 7.0)), ("a".into(), f64::NAN)],
        };
        let history: Vec<Epoch> = (0..3).map(epoch).collect();
        for history in [&history[..], &history[..1], &[]] {
            let tensors = to_tensors(history).into_iter().collect();
            let back = from_tensors(&tensors).unwrap();
            assert_eq!(format!("{back:?}"), format!("{history:?}"));
        }
    }
}
