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
//! | dense gradients: layers, keys, values | 8 (R - 1) / R for each of their numbers | every rank adds up one R-th of the numbers, and gives the sums to all |
//! | rows of a table, or of queries | (R - 1) (4 + 4 d) for each distinct id | ids and rows go to all ranks, which add equal ids in the order of the ranks |
//! | the same, where all rows are more than the table | as a dense gradient | the same decision on all ranks, from the numbers of rows |
//! | DPQ's statistics, forward | 16 D (s + 1)^2 (R - 1) / R, for VQ (s + 2)^2 | sums of the products of queries, from which mean\[j\] and var\[j\] follow |
//! | DPQ's statistics, backward | 32 K (R - 1) / R | the sums of drh and of drh rh |
//!
//! Batch normalisation needs the mean and variance of *all* scores of the batch. They follow from the moments of
//! the queries ([`speed`](super::speed)), and moments add up over ranks: one small sum is enough, and no score
//! leaves its rank. On the way back the two means over all tokens are sums too.
//!
//! Noise depends on the place in the whole batch. A rank skips the draws of the others, so dropout masks and
//! sampled codes are those of one process.
//!
//! # What DPQ saves
//!
//! Nothing in a step: the queries are as wide as a full table's rows, and as many change. It adds the codebooks
//! and the statistics. `mpirun -n 2 lstm_lm_mpi --epochs 1 --steps 200` (V 2,002, d 64, D 8, K 16) says that a rank
//! sends 697,011 bytes in a step, and with `--embedding full` 690,003: most of it is the output layer's. What becomes small is what is
//! shipped at the end ([`export`](super::export)).
//!
//! # How to run it
//!
//! `examples/data_parallel` is a package of its own that implements
//! [`Communicator`](crate::communicator::Communicator) with MPI and trains a language model:
//!
//! ```sh
//! apt-get install mpich libmpich-dev        # or: openmpi-bin libopenmpi-dev
//! cd examples/data_parallel && cargo build --release
//! mpirun -n 4 target/release/lstm_lm_mpi --embedding sx --out runs
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
//! A checkpoint is written by rank 0 and holds the state of all streams, so another number of ranks can go on
//! from it. If a rank dies the launcher ends the others; one that waits for longer than `--wait` gives up. A rank
//! with other flags or other data, or without its file, is named in one line before anything is trained.
