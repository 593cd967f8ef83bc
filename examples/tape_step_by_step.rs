//! What the tape keeps, adds and frees, in small steps; the book tells its story (`docs/tape.md`).
//!
//! ```text
//! cargo run --release --example tape_step_by_step
//! ```

use signet::device::Memory;
use signet::{Arena, Cpu, Error, GradcheckOptions, Result, Tape, Tensor, gradcheck};

// ANCHOR: product
/// z = x y, so dz/dx = y and dz/dy = x.
fn product(device: &Cpu) -> Result<()> {
    let tape = Tape::new();
    let x = tape.watch(&Tensor::from_slice(device, &[3.0], [])?);
    let y = tape.watch(&Tensor::from_slice(device, &[5.0], [])?);
    let z = x.mul(&y)?;
    let gradients = z.backward()?;
    let value = |of: &Tensor<Cpu, f64>| gradients.of(of).map_or(Ok(f64::NAN), |g| g.item());
    println!("product: z = {}, dz/dx = {}, dz/dy = {}", z.item()?, value(&x)?, value(&y)?);
    Ok(())
}
// ANCHOR_END: product

// ANCHOR: twice
/// z = x x + x: three uses of x, whose gradients add up to 2 x + 1.
fn used_three_times(device: &Cpu) -> Result<()> {
    let tape = Tape::new();
    let x = tape.watch(&Tensor::from_slice(device, &[3.0], [])?);
    let z = x.mul(&x)?.add(&x)?;
    let gradients = z.backward()?;
    let gradient = gradients.of(&x).map_or(Ok(f64::NAN), |g| g.item())?;
    println!("used three times: z = {}, dz/dx = {gradient}", z.item()?);
    Ok(())
}
// ANCHOR_END: twice

// ANCHOR: parameters
/// Gradients of parameters stay, and add up, until `zero_grad`.
fn parameters(device: &Cpu) -> Result<()> {
    let arena = Arena::new(device)?;
    let w = arena.parameter(&[3.0], [])?;
    let x = Tensor::from_slice(device, &[5.0], [])?;
    for pass in 1..=2 {
        Tape::new().input(&x).mul(&w)?.backward()?;
        let gradient = w.grad()?.map_or(Ok(f64::NAN), |g| g.item())?;
        println!("parameters: after pass {pass} dz/dw = {gradient}");
    }
    arena.zero_grad();
    println!("parameters: after zero_grad there is {:?}", w.grad()?.map(|g| g.item()));
    Ok(())
}
// ANCHOR_END: parameters

// ANCHOR: once
/// A tape is walked once, and what is on no tape records nothing.
fn once(device: &Cpu) -> Result<()> {
    let x = Tensor::from_slice(device, &[3.0], [])?;
    let constant = x.mul(&x)?;
    println!("no tape: {}", refusal(constant.backward()));

    let tape = Tape::new();
    let z = tape.watch(&x).mul(&x)?;
    z.backward()?;
    println!("twice: {}", refusal(z.backward()));
    Ok(())
}
// ANCHOR_END: once

// ANCHOR: no_grad
/// `no_grad` makes a constant in the middle: z = x c with c = x x, of which only the first x counts.
fn no_grad(device: &Cpu) -> Result<()> {
    let tape = Tape::new();
    let x = tape.watch(&Tensor::from_slice(device, &[3.0], [])?);
    let constant = tape.no_grad(|| x.mul(&x))?;
    let gradients = x.mul(&constant)?.backward()?;
    let gradient = gradients.of(&x).map_or(Ok(f64::NAN), |g| g.item())?;
    println!("no_grad: dz/dx = {gradient}");
    Ok(())
}
// ANCHOR_END: no_grad

// ANCHOR: sine
/// An op of one's own: the sine, computed on the host. `scale` is 1 if it is right.
fn sine(x: &Tensor<Cpu, f64>, scale: f64) -> Result<Tensor<Cpu, f64>> {
    let device = x.device().clone();
    let values = x.to_vec()?;
    let sines: Vec<f64> = values.iter().map(|x| x.sin()).collect();
    let output = Tensor::from_slice(&device, &sines, x.shape().clone())?;
    Tape::record([Some(x)], output, move |[node], gradient, gradients| {
        // d sin(x) / dx = cos(x), times the gradient that comes from above.
        let above = device.read(Cpu::view(&gradient))?;
        let below: Vec<f64> = above.iter().zip(&values).map(|(g, x)| scale * g * x.cos()).collect();
        gradients.pass(node, device.upload(&below)?)
    })
}
// ANCHOR_END: sine

// ANCHOR: gradcheck
fn check(device: &Cpu) -> Result<()> {
    let x = Tensor::from_slice(device, &[-1.0, 0.0, 0.5, 2.0], [2, 2])?;
    let options = GradcheckOptions::default();
    let worst = gradcheck(|x| sine(&x[0], 1.0), std::slice::from_ref(&x), &options)?;
    println!("gradcheck: {worst}");
    println!("1 % too much: {}", refusal(gradcheck(|x| sine(&x[0], 1.01), &[x], &options)));
    Ok(())
}
// ANCHOR_END: gradcheck

/// Why something was refused.
fn refusal<T>(result: Result<T>) -> String {
    result.err().as_ref().map_or_else(|| "it was not refused".into(), Error::to_string)
}

fn main() -> Result<()> {
    let device = Cpu::new(None)?;
    product(&device)?;
    used_three_times(&device)?;
    parameters(&device)?;
    once(&device)?;
    no_grad(&device)?;
    check(&device)
}
