//! DPQ beside its relatives: straight-through estimators, VQ-VAE and Gumbel-softmax.
//!
//! All of them choose one of several things in the forward pass, and need a gradient for it. They differ in
//! what the gradient is of, and in what moves the things to choose from.
//!
//! | | forward value | the gradient is that of | what trains the codebook | bias |
//! |---|---|---|---|---|
//! | [straight-through][ste] (Bengio et al. 2013) | a threshold or a sample, 0 or 1 | the identity, or a sigmoid | there is none | yes: it is small where the soft value is near the hard one |
//! | [VQ-VAE][vqvae] (van den Oord et al. 2017) | the nearest codeword | the query | a term that pulls codewords to their queries, or moving averages; the task never | yes: it grows with the distance of query and codeword |
//! | [Gumbel-softmax][gumbel] ([concrete][concrete]; 2017) | a mixture, softmax((log p + noise) / tau) | the same mixture | the task: all codewords in every step, by their weights | none for the mixture, which is not what is used at the end; the variance grows as tau falls |
//! | the same, straight-through | the largest of them, alone | the mixture | the task: with a hard value only the drawn codeword | yes |
//! | **DPQ, SX** ([Chen et al. 2020][dpq]) | the best codeword of each group | softmax(rh / tau), without noise | the task: values by the chosen codes, keys through p | yes: it is small where p is near its one-hot |
//! | **DPQ, VQ** | the best codeword of each group | the query | the codebook term; the task never | yes, as VQ-VAE |
//!
//! [ste]: https://arxiv.org/abs/1308.3432
//! [vqvae]: https://arxiv.org/abs/1711.00937
//! [gumbel]: https://arxiv.org/abs/1611.01144
//! [concrete]: https://arxiv.org/abs/1611.00712
//! [dpq]: https://arxiv.org/abs/1908.09756
//!
//! *Bias* means: averaged over whatever is random, the gradient is not the derivative of the average loss of
//! the hard choice. In SX and VQ nothing is random, the loss is a staircase, and its derivative is 0 almost
//! everywhere. So there is nothing for these gradients to be unbiased for. What they are the derivative of, is
//! the held function ([`straight_through`](super::straight_through)).
//!
//! # What is different in DPQ
//!
//! - **The query is a parameter.** In VQ-VAE an encoder computes it from data. Here it is a row of a table
//!   that is thrown away at the end ([`export`](super::export)).
//! - **Groups.** One code of K has K values; D codes have K^D. Each group is a small problem of its own.
//! - **SX has two codebooks.** Keys decide, values speak. A value need not resemble the query at all, and
//!   the task trains it directly. In VQ one vector does both.
//! - **Normalised scores.** The batch's mean and variance of each codeword's scores are taken out
//!   ([`batch_norm`](super::batch_norm)).
//! - **No noise.** Gumbel noise is an option of SX (`sampling`), for problems whose codes settle too early.
//!
//! [`sx`](super::sx) and [`vq`](super::vq) have the ten lines of PyTorch that compute the same numbers.
