//! A small GPT (Radford et al. 2019): blocks of causal attention and two linear layers, each behind a layer
//! normalisation.

use signet::dtype::Float;
use signet::nn::{
    Embedding, EmbeddingModule, Forward, Init, LayerNorm, LayerNormModule, Linear, LinearModule,
    Module,
};
use signet::ops::unary::Approximate;
use signet::{Result, Tensor};

/// The sizes of a [`Gpt`].
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub vocabulary: usize,
    pub context: usize,
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
}

#[derive(Module)]
pub struct Block<T: Float = f32> {
    ln_1: LayerNormModule<T>,
    c_attn: LinearModule<T>,
    attn_proj: LinearModule<T>,
    ln_2: LayerNormModule<T>,
    c_fc: LinearModule<T>,
    mlp_proj: LinearModule<T>,
    #[module(skip)]
    heads: usize,
}

impl<T: Float> Block<T> {
    fn new(init: &Init<T>, Sizes { width, heads, .. }: Sizes) -> Result<Self> {
        let linear = |from, to| Linear::new(from, to).build(init);
        Ok(Self {
            ln_1: LayerNorm::new([width]).build(init)?,
            c_attn: linear(width, 3 * width)?,
            attn_proj: linear(width, width)?,
            ln_2: LayerNorm::new([width]).build(init)?,
            c_fc: linear(width, 4 * width)?,
            mlp_proj: linear(4 * width, width)?,
            heads,
        })
    }

    // ANCHOR: attention
    /// Each place of `x [B, T, width]` looks at those before it: `mask [T, T]` is -inf for the others.
    fn attention(&self, x: &Tensor<T>, mask: &Tensor<T>) -> Result<Tensor<T>> {
        let &[batch, length, width] = x.dims() else {
            unreachable!("an input has three dimensions")
        };
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
        let hidden = self.c_fc.forward(&self.ln_2.forward(&x)?)?.gelu(Approximate::Tanh)?;
        x.add(&self.mlp_proj.forward(&hidden)?)
    }
}

#[derive(Module)]
pub struct Gpt<T: Float = f32> {
    wte: EmbeddingModule<T>,
    wpe: EmbeddingModule<T>,
    h: Vec<Block<T>>,
    ln_f: LayerNormModule<T>,
    lm_head: LinearModule<T>,
    #[module(skip)]
    mask: Tensor<T>,
    #[module(skip)]
    places: Tensor<i32>,
}

impl<T: Float> Gpt<T> {
    pub fn new(init: &Init<T>, sizes: Sizes) -> Result<Self> {
        let Sizes { vocabulary, context, width, layers, .. } = sizes;
        let unseen = |i: usize| if i % context > i / context { -f64::INFINITY } else { 0.0 };
        let mask: Vec<T> = (0..context * context).map(|i| T::of(unseen(i))).collect();
        let places: Vec<i32> = (0..context as i32).collect();
        Ok(Self {
            wte: Embedding::new(vocabulary, width).build(init)?,
            wpe: Embedding::new(context, width).build(init)?,
            h: (0..layers).map(|_| Block::new(init, sizes)).collect::<Result<_>>()?,
            ln_f: LayerNorm::new([width]).build(init)?,
            lm_head: Linear::new(width, vocabulary).bias(false).build(init)?,
            mask: Tensor::from_slice(init.device(), &mask, [context, context])?,
            places: Tensor::from_slice(init.device(), &places, [context])?,
        })
    }

    /// For the tokens `ids [B, T]`, what comes next at each place: `[B, T, vocabulary]`. T is the context.
    pub fn forward(&self, ids: &Tensor<i32>) -> Result<Tensor<T>> {
        let mut x = self.wte.forward(ids)?.add(&self.wpe.forward(&self.places)?)?;
        for block in &self.h {
            x = block.forward(&x, &self.mask)?;
        }
        self.lm_head.forward(&self.ln_f.forward(&x)?)
    }
}
