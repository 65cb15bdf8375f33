//! Making a table small that is finished: what is possible at a size, and why.
//!
//! # The command
//!
//! `cargo install dpq --features cli`, and then
//!
//! ```sh
//! dpq compress glove.6B.50d.txt glove.dpq --ratio 30 --report report.html
//! ```
//!
//! It prints what it lost beside 8 and 4 bits an element: the relative squared error
//! sum ||x - y||^2 / sum ||x||^2, the mean cosine of a row before and after, and the share of the ten nearest
//! neighbours that stay. No single one of them tells whether a table is still good enough for a task: try the
//! task.
//!
//! # In a program
//!
//! ```
//! use dpq::pq::Compression;
//! use dpq::{CompactEmbedding, Tensor};
//!
//! let table = Tensor::<f32>::normal([2000, 24], 1.0, &mut dpq::rng::stream(0, "table", 0));
//! // The best split of at most 12,000 bytes, by short trials.
//! let splits = Compression::dpq(1, 1, 2);
//! let best = splits.best_split((&table, None), 2000, 12_000, 1..=8)?;
//! let compact = CompactEmbedding::from_table(&table, &best, None)?;
//! assert!(compact.bytes() <= 12_000);
//! // Rows that come later get codes by the same codewords.
//! let later = Tensor::<f32>::normal([10, 24], 1.0, &mut dpq::rng::stream(1, "table", 0));
//! let later = compact.clone().with_codes(compact.encode(&later, best.beam)?)?;
//! assert_eq!(later.vocabulary(), 10);
//! # Ok::<(), dpq::Error>(())
//! ```
//!
//! # What gives how much
//!
//! spaCy's vectors (20,000 x 300), relative squared error at about 30 times; the first two lines are faiss's,
//! the others `dpq compress` with `--groups 30 --codebook-size 256 --parts 15`, and with `--ratio 30`:
//!
//! | what | codes | error | times smaller |
//! |---|---|---|---|
//! | product quantisation, codewords in 32 bits | 25 of 8 bits | 0.341 | 29.7 |
//! | narrower parts, of fewer codewords | 75 of 4 bits | 0.305 | 31.2 |
//! | two codes to a part of 20 columns, codewords in 8 bits, trained together | 30 of 8 bits | 0.249 | 31.8 |
//! | four codes to a part of 25 columns | 48 of 6 bits | 0.228 | 30.1 |
//!
//! - **Codewords in 8 bits** cost these tables nothing that can be measured, and leave their bytes to codes:
//!   where rows are few, codebooks in 32 bits are a third to half of a compact table. Where numbers differ by little
//!   beside their size, as around a large mean, `--precise` keeps 32 bits.
//! - **Several codes to a part** are the largest gain: a part of 25 columns has 64^4 values and not 256.
//!   Codes have to be searched then: with `Compression`'s beam at 1 the last line is 0.249, at 32 0.226.
//! - **Training codewords together**, by least squares for the codes that there are, is worth 6%: without it
//!   (`--method additive`) the last line is 0.243.
//! - **The split** matters less than it seems: from 2 to 8 codes a part and from 32 to 256 codewords end
//!   within a tenth of each other at equal bytes, but one code to a part is far behind, and so are ten
//!   or more where rows are few. The command tries a dozen.
//!
//! # And the task
//!
//! All of it minimises the error of the table. Where the model can still be trained, learning codes with the
//! task is better by far: see [`options`](super::options). Between the two stands
//! [`FixedCodes`](crate::pq::FixedCodes), which trains the codewords of a compressed table with the task and
//! leaves its codes as they are.
