//! A small GPT that learns a text, letter by letter, and goes on with it.
//!
//! ```text
//! cargo run --release --example gpt -- some.txt
//! ```
mod model;

use model::{Gpt, Sizes};
use signet::nn::{Model, Module};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions};
use signet::rng::{Philox, Sequence};
use signet::train::TrainStep;
use signet::{Device, Result, Tensor, no_grad};

const CONTEXT: usize = 128;
const BATCH: usize = 8;

/// What is learned where no file is named.
const TEXT: &str = include_str!("../../docs/tape.md");

/// Parts of the text, and each part one letter later: `[BATCH, CONTEXT]`, `[BATCH * CONTEXT]`.
fn batch(
    device: &Device,
    text: &[i32],
    random: &mut Sequence,
) -> Result<(Tensor<i32>, Tensor<i32>)> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..BATCH {
        let start = random.range(0.0, (text.len() - CONTEXT - 1) as f64) as usize;
        x.extend(&text[start..start + CONTEXT]);
        y.extend(&text[start + 1..start + 1 + CONTEXT]);
    }
    Ok((
        Tensor::from_slice(device, &x, [BATCH, CONTEXT])?,
        Tensor::from_slice(device, &y, [BATCH * CONTEXT])?,
    ))
}

/// An index, as likely as `logits` say.
fn draw(logits: &[f32], random: &mut Sequence) -> usize {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights = logits.iter().map(|logit| f64::from(logit - largest).exp());
    let mut left = random.range(0.0, weights.clone().sum());
    let found = weights.clone().position(|weight| {
        left -= weight;
        left < 0.0
    });
    found.unwrap_or(logits.len() - 1)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = arguments.next().map_or(Ok(TEXT.to_owned()), std::fs::read_to_string)?;
    let steps: u64 = arguments.next().map_or(Ok(300), |steps| steps.parse())?;
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let index = |letter| letters.binary_search(&letter).map_or(0, |at| at as i32);
    let tokens: Vec<i32> = text.chars().map(index).collect();
    if tokens.len() < CONTEXT + 2 {
        return Err(
            format!("the text has {} letters, fewer than {}", tokens.len(), CONTEXT + 2).into()
        );
    }

    let device = Device::auto()?;
    let sizes =
        Sizes { vocabulary: letters.len(), context: CONTEXT, width: 128, heads: 4, layers: 4 };
    let model = Model::new(&device, 0, |init| Gpt::new(init, sizes))?;
    let numbers: usize = model.parameters().iter().map(Tensor::numel).sum();
    println!("{numbers} parameters, {} kinds of letters, {}", letters.len(), device.describe());
    // ANCHOR: train
    let adam = Adam::new(model.arena(), AdamOptions::adamw(1e-3))?;
    let loss = |(x, y): &(Tensor<i32>, Tensor<i32>)| {
        let logits = model.forward(x)?.reshape([BATCH * CONTEXT, letters.len()])?;
        Ok(cross_entropy(&logits, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&*model, model.context(), adam, loss)?;
    let mut random = Philox::new(0).sequence(0, 0);
    for number in 1..=steps {
        step.run(&batch(&device, &tokens, &mut random)?)?;
        if number % 20 == 0 || number == steps {
            println!("step {number}: loss {:.4}", step.mean_loss()?);
        }
    }
    // ANCHOR_END: train
    drop(step);

    model.eval();
    let mut written = tokens[..CONTEXT].to_vec();
    for _ in 0..300 {
        let x = Tensor::from_slice(&device, &written[written.len() - CONTEXT..], [1, CONTEXT])?;
        let logits = no_grad(|| model.forward(&x))?.to_vec()?;
        written.push(draw(&logits[(CONTEXT - 1) * letters.len()..], &mut random) as i32);
    }
    let written: String = written[CONTEXT..].iter().map(|&i| letters[i as usize]).collect();
    println!("\n{written}");
    Ok(())
}
