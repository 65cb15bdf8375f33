//! Files: written whole or not at all; tensors and metadata to and from safetensors.

mod write;
#[cfg(feature = "io")]
mod tensors;

#[cfg(feature = "io")]
pub(crate) use tensors::{PlacedTensor, placed_tensors, read, read_at};
#[cfg(feature = "io")]
pub use tensors::{
    StoredTensor, TensorFile, load_tensors, save_tensors, tensors_from_bytes, tensors_to_bytes,
};
pub use write::{check_writable, write_whole};
