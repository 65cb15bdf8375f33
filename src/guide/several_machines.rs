//! Several machines: what ranks tell each other in a step, and why the result is that of one.
//!
//! A *rank* is one of several processes that train one model together. Each holds all parameters, reads its
//! part of every batch, and computes gradients of it. What the ranks exchange makes every step that of one
//! process with the whole batch, to rounding: means of losses are weighted by the parts, and every sum is taken
//! in the order of the ranks, so that two runs with as many ranks have the same bits.
//!
//! # What is exchanged
//!
//! With R ranks, for each of them and in a step:
//!
//! | what | bytes that leave a rank | how |
//! |---|---|---|
//! | dense gradients: layers, keys, values | 8 (R - 1) / R for each of their numbers | together: every rank adds up one R-th of the numbers, and gives the sums to all |
//! | rows of a table, or of queries | (R - 1) (4 + 4 d) for each distinct id | ids and rows go to all ranks, which add equal ids in the order of the ranks |
//! | the same, where all rows are more than the table | as a dense gradient | the same decision on all ranks, from the numbers of rows |
//! | DPQ's statistics, forward | 16 (D (s + 1)^2 + d + 1) (R - 1) / R, for VQ (s + 2)^2 | sums of the products of queries, from which mean\[j\] and var\[j\] follow |
//! | DPQ's statistics, backward | 16 (2 K + 1) (R - 1) / R | the sums of drh and of drh rh |
//!
//! Batch normalisation needs the mean and variance of *all* scores of the batch. They follow from the moments of
//! the queries ([`speed`](super::speed)), and moments add up over ranks: one small sum is enough, and no score
//! leaves its rank. On the way back the two means over all tokens are sums too.
//!
//! Noise depends on the place in the whole batch. A rank skips the draws of the others, so dropout masks and
//! sampled codes are those of one process.
//!
//! # Counted
//!
//! `mpirun -n 2 cost --data PTB`, in `examples/data_parallel`, takes a step of two models and counts what rank 0
//! sends. The language model is the small one of Zaremba et al. (2014): 200 units, 2 layers, 20 streams of 20 words
//! on each rank, Penn Treebank's 10,000 words, D 25, K 32. The classifier reads 64 texts of 40 words on each rank,
//! drawn by Zipf's law from V = 1,000,000, with d 512, D 64, K 32.
//!
//! | bytes | language model, full | SX | classifier, full | SX |
//! |---|---|---|---|---|
//! | rows of the table, or of queries | 201,804 | 201,804 | 3,459,672 | 3,459,672 |
//! | keys and values | | 2,048 | | 131,072 |
//! | DPQ's statistics | | 18,328 | | 46,096 |
//! | LSTM, or hidden layer with its normalisation | 2,566,400 | 2,566,400 | 1,091,648 | 1,091,648 |
//! | output layer | 8,040,000 | 8,040,000 | 8,208 | 8,208 |
//! | numbers of rows | 72 | 88 | 72 | 88 |
//! | all | 10,808,276 | 10,828,668 | 4,559,600 | 4,736,784 |
//!
//! **DPQ saves nothing here**: queries are as wide as a full table's rows, and as many change; 0.2 and 3.9% come on
//! top. What saves is that only rows are sent: the classifier's whole table, as a dense gradient, would be
//! 2,048,000,000 bytes. What DPQ makes small is the table that is handed out at the end
//! ([`export`](super::export)): 40,065,536 bytes and not 2,048,000,000.
//!
//! # When it pays
//!
//! Predicted milliseconds of a step with SX, not measured: nobody has run this on 64 machines. Each rank has a batch
//! of its own, so what counts is how much longer a step takes than the rank's own work, 32.1 and 6.6 ms.
//!
//! | ranks | language model, 1 Gbit/s | 10 | 100 | classifier, 1 Gbit/s | 10 | 100 |
//! |---|---|---|---|---|---|---|
//! | 2 | 125 | 46 | 38 | 49 | 14 | 9 |
//! | 4 | 175 | 54 | 41 | 116 | 24 | 14 |
//! | 8 | 206 | 59 | 43 | 238 | 43 | 21 |
//! | 16 | 232 | 63 | 45 | 477 | 79 | 37 |
//! | 32 | 266 | 69 | 47 | 948 | 151 | 67 |
//! | 64 | 325 | 78 | 51 | 1889 | 292 | 127 |
//!
//! A step takes the work + calls x log2(R) x latency + bytes x (1 / rate + 1 / 2.15 GB/s). Assumed: a latency of 50,
//! 20 and 2 microseconds at 1, 10 and 100 Gbit/s; one rank to a network card; a network that all ranks can fill at a
//! time; nothing sent while a rank computes; as many different words in every rank's batch as counted. Measured, on
//! two cores of a Zen 5: the work, on one core, and the 2.15 GB/s, fitted to sums of 256 to 4,194,304 numbers
//! between two ranks in shared memory (4 microseconds a sum).
//!
//! So: on 10 Gbit/s and faster a language model gains from every machine. A small model with many words sends more
//! than it computes: larger batches, which share words, help more than machines.
//!
//! # How to run it
//!
//! `examples/data_parallel` is a package of its own that implements
//! [`Communicator`](crate::communicator::Communicator) with MPI and trains a language model:
//!
//! ```sh
//! apt-get install mpich libmpich-dev        # or: openmpi-bin libopenmpi-dev
//! cd examples/data_parallel && cargo build --release
//! mpirun -n 4 target/release/lstm_lm_mpi --embedding sx
//! ```
//!
//! In a program [`Trainer::communicator`](crate::train::Trainer::communicator) is given one, and the task says which
//! [part](crate::tape::Part) of the batch it computes. [`Threads`](crate::communicator::Threads) are ranks within one
//! process, without MPI:
//!
//! ```
//! use dpq::communicator::{Communicator, Threads};
//! use dpq::tape::Part;
//! use dpq::{Params, Tape, Tensor};
//! use std::sync::Arc;
//! // The mean of x^2 over four examples, of which each rank has two.
//! let (examples, ranks) = ([1.0_f64, 2.0, 3.0, 4.0], Threads::new(2));
//! let gradient = |rank: Threads| -> dpq::Result<f64> {
//!     let mut params = Params::new();
//!     let w = params.add("w", Tensor::scalar(1.0));
//!     let part = Part::of_rank(rank.rank(), rank.size(), 4);
//!     let own = Tensor::from_fn([part.own], |i| examples[part.first + i]);
//!     let (_, mut grads, ()) = Tape::new().value_and_grad(&params, |p| {
//!         let y = p.tape.constant(own) * p[w];
//!         ((y * y).mean() * part.share(), ())
//!     })?;
//!     grads.sum_over_ranks(&rank)?;
//!     Ok(grads.dense(w).item())
//! };
//! let found: Vec<f64> = std::thread::scope(|scope| {
//!     let running: Vec<_> = ranks.into_iter().map(|rank| scope.spawn(|| gradient(rank))).collect();
//!     running.into_iter().map(|rank| rank.join().expect("no panic").expect("no error")).collect()
//! });
//! assert_eq!(found, [15.0, 15.0]); // 2 (1 + 4 + 9 + 16) / 4, on both
//! ```
//!
//! Texts differ in length: [`TextClassifier`](crate::nn::TextClassifier) deals them out so that the ranks have about
//! equally many words ([`Part::by_length`](crate::tape::Part::by_length)).
//!
//! A checkpoint is written by rank 0 and holds the state of all streams, so another number of ranks can go on
//! from it. If a rank dies the launcher ends the others; one that waits for longer than `--wait` gives up. A rank
//! with other flags or other data, or without its file, is named in one line before anything is trained.
