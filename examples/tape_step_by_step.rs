//! What the tape keeps, adds and frees, in small steps; the book tells its story (`docs/tape.md`).
//!
//! ```text
//! cargo run --release --example tape_step_by_step
//! ```

use signet::{Arena, Device, Error, GradcheckOptions, Result, Tensor, gradcheck, no_grad};

// ANCHOR: product
/// z = x y, so dz/dx = y and dz/dy = x.
fn product(device: &Device) -> Result<()> {
    let x = Tensor::from_slice(device, &[3.0], [])?.requires_grad(true)?;
    let y = Tensor::from_slice(device, &[5.0], [])?.requires_grad(true)?;
    let z = x.mul(&y)?;
    z.backward()?;
    println!("product: z = {}, dz/dx = {}, dz/dy = {}", z.item()?, grad(&x)?, grad(&y)?);
    Ok(())
}
// ANCHOR_END: product

// ANCHOR: twice
/// z = x x + x: three uses of x, whose gradients add up to 2 x + 1.
fn used_three_times(device: &Device) -> Result<()> {
    let x = Tensor::from_slice(device, &[3.0], [])?.requires_grad(true)?;
    let z = x.mul(&x)?.add(&x)?;
    z.backward()?;
    println!("used three times: z = {}, dz/dx = {}", z.item()?, grad(&x)?);
    Ok(())
}
// ANCHOR_END: twice

// ANCHOR: parameters
/// Gradients stay, and add up, until `zero_grad`.
fn parameters(device: &Device) -> Result<()> {
    let arena = Arena::new(device)?;
    let w = arena.parameter(&[3.0], [])?;
    let x = Tensor::from_slice(device, &[5.0], [])?;
    for pass in 1..=2 {
        x.mul(&w)?.backward()?;
        println!("parameters: after pass {pass} dz/dw = {}", grad(&w)?);
    }
    arena.zero_grad();
    println!("parameters: after zero_grad there is {:?}", w.grad()?.map(|g| g.item()));
    // A penalty on the parameter itself is recorded as anything else.
    x.mul(&w)?.add(&w.mul(&w)?)?.backward()?;
    println!("parameters: with a penalty d(x w + w w)/dw = {}", grad(&w)?);
    Ok(())
}
// ANCHOR_END: parameters

// ANCHOR: once
/// What was recorded is used up, and of constants nothing is.
fn once(device: &Device) -> Result<()> {
    let x = Tensor::from_slice(device, &[3.0], [])?;
    println!("nothing: {}", refusal(x.mul(&x)?.backward()));

    x.requires_grad(true)?;
    let z = x.mul(&x)?;
    z.backward()?;
    println!("twice: {}", refusal(z.backward()));
    Ok(())
}
// ANCHOR_END: once

// ANCHOR: changed
/// A product needs its factors, a sum does not need its terms.
fn changed(device: &Device) -> Result<()> {
    let arena = Arena::new(device)?;
    let [v, w] = [arena.parameter(&[2.0], [])?, arena.parameter(&[3.0], [])?];
    let (product, sum) = (v.mul(&w)?, v.add(&w)?);
    w.set(&[100.0])?;
    println!("changed: the product: {}", refusal(product.backward()));
    sum.backward()?;
    println!("changed: the sum: dz/dv = {}", grad(&v)?);
    Ok(())
}
// ANCHOR_END: changed

// ANCHOR: no_grad
/// `no_grad` makes a constant in the middle: z = x c with c = x x, of which only the first x counts.
fn constant_in_the_middle(device: &Device) -> Result<()> {
    let x = Tensor::from_slice(device, &[3.0], [])?.requires_grad(true)?;
    let constant = no_grad(|| x.mul(&x))?;
    x.mul(&constant)?.backward()?;
    println!("no_grad: dz/dx = {}", grad(&x)?);
    Ok(())
}
// ANCHOR_END: no_grad

// ANCHOR: frozen
/// A frozen parameter is a constant until it is thawed.
fn frozen(device: &Device) -> Result<()> {
    let arena = Arena::new(device)?;
    let [v, w] = [arena.parameter(&[2.0], [])?, arena.parameter(&[3.0], [])?];
    w.requires_grad(false)?;
    v.mul(&w)?.backward()?;
    println!("frozen: dz/dv = {}, dz/dw is {:?}", grad(&v)?, w.grad()?.map(|g| g.item()));
    w.requires_grad(true)?;
    v.mul(&w)?.backward()?;
    println!("frozen: thawed, dz/dw = {}", grad(&w)?);
    Ok(())
}
// ANCHOR_END: frozen

// ANCHOR: sine
/// An op of one's own: the sine, computed on the host. `scale` is 1 if it is right.
fn sine(x: &Tensor<f64>, scale: f64) -> Result<Tensor<f64>> {
    let values = x.to_vec()?;
    let sines: Vec<f64> = values.iter().map(|x| x.sin()).collect();
    let output = Tensor::from_slice(x.device(), &sines, x.shape().clone())?;
    Ok(output.with_grad_fn([Some(x)], move |[node], gradient, gradients| {
        // d sin(x) / dx = cos(x), times the gradient that comes from above.
        let above = gradient.to_vec()?;
        let below: Vec<f64> = above.iter().zip(&values).map(|(g, x)| scale * g * x.cos()).collect();
        gradients.pass(node, Tensor::from_slice(gradient.device(), &below, gradient.dims())?)
    }))
}
// ANCHOR_END: sine

// ANCHOR: gradcheck
fn check(device: &Device) -> Result<()> {
    let x = Tensor::from_slice(device, &[-1.0, 0.0, 0.5, 2.0], [2, 2])?;
    let options = GradcheckOptions::default();
    let worst = gradcheck(|x| sine(&x[0], 1.0), std::slice::from_ref(&x), &options)?;
    println!("gradcheck: {worst}");
    println!("1 % too much: {}", refusal(gradcheck(|x| sine(&x[0], 1.01), &[x], &options)));
    Ok(())
}
// ANCHOR_END: gradcheck

/// The gradient of a scalar.
fn grad(of: &Tensor<f64>) -> Result<f64> {
    of.grad()?.map_or(Ok(f64::NAN), |gradient| gradient.item())
}

/// Why something was refused.
fn refusal<T>(result: Result<T>) -> String {
    result.err().as_ref().map_or_else(|| "it was not refused".into(), Error::to_string)
}

fn main() -> Result<()> {
    let device = Device::cpu()?;
    product(&device)?;
    used_three_times(&device)?;
    parameters(&device)?;
    once(&device)?;
    changed(&device)?;
    constant_in_the_middle(&device)?;
    frozen(&device)?;
    check(&device)
}
