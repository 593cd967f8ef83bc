//! A small GPT that learns a text, letter by letter, and goes on with it.
//!
//! ```text
//! cargo run --release --example gpt -- some.txt
//! ```
mod model;

use model::{Gpt, Sizes};
use signet::ops::cross_entropy::cross_entropy;
use signet::{Device, Tensor, nn, no_grad, optim, rng::Philox, train::TrainStep};
use std::{collections::BTreeSet, env::args, error::Error, fs::read_to_string};

const CONTEXT: usize = 128;
const BATCH: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let chapter = include_str!("../../docs/tape.md").to_owned();
    let text = args().nth(1).map_or(Ok(chapter), read_to_string)?;
    let steps = args().nth(2).map_or(Ok(300), |steps| steps.parse())?;
    let letters: Vec<char> = BTreeSet::from_iter(text.chars()).into_iter().collect();
    let index = |letter| letters.binary_search(&letter).map_or(0, |at| at as i32);
    let tokens: Vec<i32> = text.chars().map(index).collect();
    let last = tokens.len().checked_sub(CONTEXT + 1).ok_or("the text is too short")?;

    let device = Device::auto()?;
    println!("{} letters, {} different ones, {}", tokens.len(), letters.len(), device.describe());
    let vocabulary = letters.len();
    let sizes = Sizes { vocabulary, context: CONTEXT, width: 128, heads: 4, layers: 4 };
    let model = nn::Model::new(&device, 0, |init: &nn::Init| Gpt::new(init, &sizes))?;
    // ANCHOR: train
    let adam = optim::Adam::new(model.arena(), optim::AdamOptions::adamw(1e-3))?;
    let loss = |(x, y): &(Tensor<i32>, Tensor<i32>)| {
        let logits = model.forward(x)?.reshape([BATCH * CONTEXT, vocabulary])?;
        Ok(cross_entropy(&logits, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&*model, model.context(), adam, loss)?;
    let mut random = Philox::new(0).sequence(0, 0);
    for number in 1..=steps {
        // A part of the text, and the same one letter later.
        let starts: [_; BATCH] = std::array::from_fn(|_| random.below(last as u32 + 1) as usize);
        let parts = |by| starts.map(|start| &tokens[start + by..][..CONTEXT]).concat();
        let x = Tensor::from_slice(&device, &parts(0), [BATCH, CONTEXT])?;
        step.run(&(x, Tensor::from_slice(&device, &parts(1), [BATCH * CONTEXT])?))?;
        if number % 20 == 0 || number == steps {
            println!("step {number}: loss {:.4}", step.mean_loss()?);
        }
    }
    // ANCHOR_END: train

    let mut written = tokens[..CONTEXT].to_vec();
    for _ in 0..300 {
        let x = Tensor::from_slice(&device, &written[written.len() - CONTEXT..], [1, CONTEXT])?;
        let next = no_grad(|| model.forward(&x)?.select(1, -1)?.softmax(-1))?;
        written.push(random.multinomial(&next.to_vec()?)? as i32);
    }
    println!("\n{}", String::from_iter(written[CONTEXT..].iter().map(|&i| letters[i as usize])));
    Ok(())
}
