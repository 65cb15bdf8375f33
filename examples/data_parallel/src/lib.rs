//! What the programs of this package share: the ranks of MPI, and a language model that they train.

pub mod mpi;
pub mod training;
