//! DPQ beside its relatives: straight-through estimators, VQ-VAE and Gumbel-softmax.
//!
//! All of them choose one of several things in the forward pass, and need a gradient for it. They differ in
//! what the gradient is of, and in what moves the things to choose from.
//!
//! | | forward value | the gradient is that of | what trains the codebook | bias, or what the error depends on |
//! |---|---|---|---|---|
//! | [straight-through][ste] (Bengio et al. 2013) | a threshold or a sample, 0 or 1 | the identity, or a sigmoid | there is none | biased |
//! | [VQ-VAE][vqvae] (van den Oord et al. 2017) | the nearest codeword | the query | a term that pulls codewords to their queries, or moving averages; the task never | nothing is random; the larger the distance of query and codeword, the larger the error |
//! | [Gumbel-softmax][gumbel] ([concrete][concrete]; 2017) | a mixture of all, with weights softmax((log p + noise) / tau) | the same mixture | the task: all codewords in every step, by their weights | none for the loss of the mixture, but that is not used at the end; the smaller tau, the noisier |
//! | straight-through Gumbel-softmax | only the codeword with the largest weight | the mixture | the task: in each step the drawn codeword | biased |
//! | **DPQ, SX** ([Chen et al. 2020][dpq]) | the best codeword of each group | softmax(rh / tau), without noise | the task: values by the chosen codes, keys through p | nothing is random; the nearer p is to its one-hot, the smaller the error |
//! | **DPQ, VQ** | the best codeword of each group | the query | the codebook term; the task never | as VQ-VAE |
//!
//! [ste]: https://arxiv.org/abs/1308.3432
//! [vqvae]: https://arxiv.org/abs/1711.00937
//! [gumbel]: https://arxiv.org/abs/1611.01144
//! [concrete]: https://arxiv.org/abs/1611.00712
//! [dpq]: https://arxiv.org/abs/1908.09756
//!
//! An estimator of a *random* pass is unbiased if its average is the derivative of the average loss. SX and VQ
//! draw nothing: for given parameters there is one loss, a staircase in the queries, whose derivative is 0 almost
//! everywhere. Measured against that 0 every useful gradient would be biased. There is another question to ask.
//! These gradients are the exact derivative of the held function
//! ([`straight_through`](super::straight_through)), in which the soft value moves in place of the hard one: how far
//! is soft from hard? In VQ that is the distance of query and codeword, in SX that of p and its one-hot.
//!
//! # What is different in DPQ
//!
//! - **The query is a parameter.** In VQ-VAE an encoder computes it from data. Here it is a row of a table
//!   that is thrown away at the end ([`export`](super::export)).
//! - **Groups.** One code can say K different things, D codes K^D. Each group is a small problem of its own.
//! - **SX has two codebooks.** Keys decide, values speak. A value need not resemble the query at all, and
//!   the task trains it directly. In VQ one vector does both.
//! - **Normalised scores.** The batch's mean and variance of each codeword's scores are taken out
//!   ([`batch_norm`](super::batch_norm)).
//! - **No noise.** Gumbel noise is an option of SX (`sampling`), for problems whose codes settle too early.
//!
//! [`sx`](super::sx) and [`vq`](super::vq) have the ten lines of PyTorch that compute the same numbers.
