//! Which option to use when, and what each costs.
//!
//! # Start with the defaults
//!
//! [`DpqConfig::sx`](crate::DpqConfig::sx) with one codebook for all groups (`shared: true`) is the first
//! thing to try: K = 32 and as many groups as the size allows. On the language that
//! `lstm_lm` makes up (V 2,002, d 64, D 8, K 16, shared; 60.2 times smaller) one option at a time changed
//! this, in perplexity on its test text:
//!
//! | what | SX | VQ | ratio |
//! |---|---|---|---|
//! | full table | 52.43 | 52.43 | 1 |
//! | the defaults | 51.91 | 52.15 | 60.2 |
//! | no batch normalisation | 52.34 | 52.73 | 60.2 |
//! | a codebook for each group | 51.95 | 53.49 | 42.3 |
//! | beta 0.1 | 51.70 | 52.37 | 60.2 |
//! | cosine | 51.83 | - | 60.2 |
//! | squared distance | 51.74 | always | 60.2 |
//! | temperature annealed from 2 to 0.3 | 51.95 | - | 60.2 |
//! | temperature that learns, from 1 | 52.02 | - | 60.2 |
//! | codes sampled | 56.66 | - | 60.2 |
//! | codebooks as moving averages | - | 52.07 | 60.2 |
//! | with revival below 0.1 | - | 52.93 | 60.2 |
//! | k-means start | 52.13 | 52.19 | 60.2 |
//! | bands 200:8,1000:4 | 52.11 | 52.52 | 89.7 |
//! | additive, D 4 | 53.34 | 142.25 | 63.3 |
//!
//! Zen 5 with AVX-512, seed 0: `lstm_lm --embedding sx,vq` with `--no-batch-norm`, `--shared false`,
//! `--beta 0.1`, `--score cosine`, `--temperature annealed:2:0.3:1500` or `learnable:1`, `--sampling`,
//! `--moving-average` (with revival `0.99:0.00001:0.1`), `--kmeans-start`, `--bands 200:8,1000:4` or
//! `--additive --groups 4`, and of the two forms the one that has the option. With the seeds 0 to 3
//! SX ends 0.3 to 0.5 below the full table, and VQ from 0.3 below to 0.6 above: smaller differences say
//! little. So:
//!
//! - **Batch normalisation and a shared codebook** stay on: they keep codewords in use, and cost nothing.
//! - **Bands** are the cheapest way to a smaller table where ids are numbered by frequency: half the
//!   bits for the words that hardly occur.
//! - **Squared distance or cosine** help SX a little, for an op or two around the fused one.
//! - **Sampling** is for problems where codes settle too early. Three epochs are too few for it: the
//!   model sees other rows in training than at the end.
//! - **Moving averages** free VQ's codebook from the learning rate: use them with an optimiser whose
//!   rate suits the rest of the model and not the codebook. **Revival** is for codebooks that die; here
//!   it only unsettles codes (61% change in the last epoch, 14% without it).
//! - **A learnable temperature** is one number that all tokens pull at: give it a smaller learning rate
//!   of its own, as `lstm_lm` does.
//! - **Additive groups** hold more values at the same number of codes, but each gradient is divided among
//!   D groups: with plain gradient descent at the same rate VQ hardly moves.
//!
//! # Instead of DPQ
//!
//! On the same text, the same model with other small tables (`lstm_lm --embedding
//! full,sx,low-rank,int8,int4,int2,kmeans,kmeans-tuned,reconstructed,random`; [`embedding`](mod@crate::embedding),
//! [`FixedCodes`](crate::pq::FixedCodes), [`by_kmeans`](crate::CompactEmbedding::by_kmeans),
//! [`Reconstruction`](crate::reconstruct::Reconstruction)):
//!
//! | table | test perplexity | ratio |
//! |---|---|---|
//! | full | 52.43 | 1 |
//! | 8 bits an element, after training | 52.43 | 3.8 |
//! | 4 bits | 52.43 | 7.1 |
//! | 2 bits | 52.80 | 12.8 |
//! | SX | 51.91 | 60.2 |
//! | product quantisation after training | 77.52 | 60.2 |
//! | its codebook trained for another epoch | 56.83 | 60.2 |
//! | codes that learn to reconstruct the table | 68.65 | 60.2 |
//! | random codes, values trained | 65.82 | 60.2 |
//! | low rank, trained | 91.09 | 62.0 |
//!
//! Up to about ten times, a few bits an element need no training and lose nothing. From there on codes
//! have to be learnt with the task: at equal bytes every way of making them afterwards is worse.
//!
//! # The same on Penn Treebank
//!
//! The small model, 5 epochs, perplexity on the test text (full table 119.6):
//!
//! | table | 8 | 15 | 26 | 51 | 123 | 220 | 482 times smaller |
//! |---|---|---|---|---|---|---|---|
//! | 4 and 2 bits an element | 119.7 | 121.0 | | | | | |
//! | SX | | | 117.3 | 116.2 | 118.8 | 119.4 | 129.3 |
//! | VQ | | | 115.1 | 116.8 | 124.4 | 139.0 | 157.0 |
//! | random codes, values trained | | | | 122.5 | | | |
//! | `dpq compress` after training | | | | 124.7 | | | |
//! | low rank, trained | | | 120.1 (28) | 134.9 (65) | 218.6 (196) | | |
//! | product quantisation, its codebook trained for an epoch | | | | 143.2 | | | |
//!
//! - **SX** keeps up with the full table to 220 times smaller, **VQ** to 51; up to 26 times VQ is ahead.
//! - **Bands** 1000:16,3000:4 make the table of 51 times one of 94, and the perplexity no worse: 115.8.
//! - **beta 0.1** and a **temperature that learns** lower SX's perplexity by 3% in three epochs, and without
//!   **batch normalisation** it ends 6% higher. Cosine is worth 2%; a k-means start, annealing, a codebook for
//!   each group and VQ's commitment term are worth nothing here, moving averages cost 2%. Sampled codes
//!   (60% higher) and additive groups (22%) need longer than that.
//! - A table that is **finished** loses 4% at a fiftieth with additive codes, and random codes whose values are
//!   trained lose less: what counts is that values learn with the task.
//!
//! [RESULTS.md](https://docs.rs/crate/dpq/latest/source/RESULTS.md) has all runs, three seeds of the main ones
//! over 15 epochs, and what each option does here.
