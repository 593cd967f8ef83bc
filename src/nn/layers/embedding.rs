use crate::dtype::Float;
use crate::nn::{Init, Module, State};
use crate::ops::embedding::embedding;
use crate::{Error, Result, Tensor};

/// `torch.nn.Embedding`: a row of numbers for each id, from N(0, 1).
///
/// It maps ids, a `Tensor<i32>`, so it stands in a [`Module`] of one's own and in no
/// [`Sequential`](crate::nn::Sequential). [`onnx::export_ids`](crate::onnx::export_ids) writes it before one.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::{Embedding, Init};
/// use signet::{Device, Tensor};
///
/// let device = Device::cpu()?;
/// let words = Embedding::new(1000, 64).build(&Init::<f32>::new(&device, 0)?)?;
/// let ids = Tensor::from_slice(&device, &[3, 999, 3], [3])?;
/// assert_eq!(words.forward(&ids)?.dims(), [3, 64]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Rows: ids are less.
    pub num_embeddings: usize,
    /// Numbers of a row.
    pub embedding_dim: usize,
    /// A row that begins as zeros and is not learned.
    pub padding_idx: Option<usize>,
}

impl Embedding {
    /// A table of `num_embeddings` rows of `embedding_dim` numbers.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Self { num_embeddings, embedding_dim, padding_idx: None }
    }

    /// The id of what stands for nothing.
    pub fn padding_idx(self, padding_idx: impl Into<Option<usize>>) -> Self {
        Self { padding_idx: padding_idx.into(), ..self }
    }

    /// Draws the table.
    ///
    /// # Errors
    /// [`Error::Argument`] for a `padding_idx` that is no row, [`Error::Shape`] for more elements than
    /// kernels index, and when the device fails.
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<EmbeddingModule<T>> {
        let Self { num_embeddings, embedding_dim, padding_idx } = *self;
        if padding_idx.is_some_and(|row| row >= num_embeddings) {
            let message = format!("must be less than num_embeddings = {num_embeddings}");
            return Err(Error::argument("padding_idx", message));
        }
        let weight = init.normal(1.0, [num_embeddings, embedding_dim])?;
        if let Some(row) = padding_idx {
            let mut values = weight.to_vec()?;
            values[row * embedding_dim..][..embedding_dim].fill(T::zero());
            weight.set(&values)?;
        }
        Ok(EmbeddingModule { weight, padding_idx })
    }
}

/// An [`Embedding`] with its table.
#[derive(Debug)]
pub struct EmbeddingModule<T: Float = f32> {
    /// `[num_embeddings, embedding_dim]`.
    pub weight: Tensor<T>,
    /// A row that is not learned.
    pub padding_idx: Option<usize>,
}

impl<T: Float> EmbeddingModule<T> {
    /// The rows of `ids [..]`, `[.., embedding_dim]`.
    ///
    /// # Errors
    /// As [`embedding`].
    pub fn forward(&self, ids: &Tensor<i32>) -> Result<Tensor<T>> {
        embedding(&self.weight, ids, self.padding_idx)
    }
}

impl<T: Float> Module<T> for EmbeddingModule<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        State::parameters([("weight", Some(&self.weight))])
    }
}
