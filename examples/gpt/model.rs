//! A small GPT (Radford et al. 2019).

use signet::nn::{self, Forward, Init, Module};
use signet::{Result, Tensor, dtype::Float};

/// The sizes of a [`Gpt`].
pub struct Sizes {
    pub vocabulary: usize,
    pub context: usize,
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
}

/// Causal attention, and then two linear layers, each behind a layer normalisation and beside a shortcut.
#[derive(Module)]
pub struct Block<T: Float = f32> {
    ln_1: nn::LayerNormModule<T>,
    c_attn: nn::LinearModule<T>,
    attn_proj: nn::LinearModule<T>,
    ln_2: nn::LayerNormModule<T>,
    c_fc: nn::LinearModule<T>,
    mlp_proj: nn::LinearModule<T>,
    #[module(skip)]
    heads: usize,
}

impl<T: Float> Block<T> {
    fn new(init: &Init<T>, &Sizes { width, heads, .. }: &Sizes) -> Result<Self> {
        Ok(Self {
            ln_1: nn::LayerNorm::new([width]).build(init)?,
            c_attn: nn::Linear::new(width, 3 * width).build(init)?,
            attn_proj: nn::Linear::new(width, width).build(init)?,
            ln_2: nn::LayerNorm::new([width]).build(init)?,
            c_fc: nn::Linear::new(width, 4 * width).build(init)?,
            mlp_proj: nn::Linear::new(4 * width, width).build(init)?,
            heads,
        })
    }

    // ANCHOR: attention
    /// Each place of `x [B, T, width]` looks at those before it: `mask [T, T]` is -inf for the others.
    fn attention(&self, x: &Tensor<T>, mask: &Tensor<T>) -> Result<Tensor<T>> {
        let [batch, length, width] = x.shape().expect("attention", "[B, T, width]")?;
        let depth = width / self.heads;
        let qkv = self.c_attn.forward(x)?.reshape([batch, length, 3, self.heads, depth])?;
        let qkv = qkv.permute(&[2, 0, 3, 1, 4])?;
        let (q, k, v) = (qkv.select(0, 0)?, qkv.select(0, 1)?, qkv.select(0, 2)?);
        let scores = q.matmul(&k.transpose(-2, -1)?)?.mul_scalar(1.0 / (depth as f64).sqrt())?;
        let y = scores.add(mask)?.softmax(-1)?.matmul(&v)?;
        self.attn_proj.forward(&y.permute(&[0, 2, 1, 3])?.reshape([batch, length, width])?)
    }
    // ANCHOR_END: attention

    fn forward(&self, x: &Tensor<T>, mask: &Tensor<T>) -> Result<Tensor<T>> {
        let x = x.add(&self.attention(&self.ln_1.forward(x)?, mask)?)?;
        let hidden = self.c_fc.forward(&self.ln_2.forward(&x)?)?.gelu(nn::Approximate::Tanh)?;
        x.add(&self.mlp_proj.forward(&hidden)?)
    }
}

#[derive(Module)]
pub struct Gpt<T: Float = f32> {
    wte: nn::EmbeddingModule<T>,
    wpe: nn::EmbeddingModule<T>,
    h: Vec<Block<T>>,
    ln_f: nn::LayerNormModule<T>,
    lm_head: nn::LinearModule<T>,
    #[module(skip)]
    mask: Tensor<T>,
}

impl<T: Float> Gpt<T> {
    pub fn new(init: &Init<T>, sizes: &Sizes) -> Result<Self> {
        Ok(Self {
            wte: nn::Embedding::new(sizes.vocabulary, sizes.width).build(init)?,
            wpe: nn::Embedding::new(sizes.context, sizes.width).build(init)?,
            h: (0..sizes.layers).map(|_| Block::new(init, sizes)).collect::<Result<_>>()?,
            ln_f: nn::LayerNorm::new([sizes.width]).build(init)?,
            lm_head: nn::Linear::new(sizes.width, sizes.vocabulary).bias(false).build(init)?,
            mask: nn::generate_square_subsequent_mask(init.device(), sizes.context)?,
        })
    }

    /// For the tokens `ids [B, T]`, what comes next at each place: `[B, T, vocabulary]`. T is the context.
    pub fn forward(&self, ids: &Tensor<i32>) -> Result<Tensor<T>> {
        let x = self.wte.forward(ids)?.add(&self.wpe.weight)?;
        let x = self.h.iter().try_fold(x, |x, block| block.forward(&x, &self.mask))?;
        self.lm_head.forward(&self.ln_f.forward(&x)?)
    }
}
