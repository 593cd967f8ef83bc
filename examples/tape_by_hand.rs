//! A two-layer network written out by hand, its gradients beside finite differences.
//!
//! ```text
//! cargo run --release --example tape_by_hand
//! ```
#![forbid(unsafe_code)]

use signet::{Arena, Device, Result, Tensor, no_grad};

/// `loss = mean((relu(x w1 + b1) w2 - y)^2)`: recorded, as parameters take part.
fn loss(parameters: &[Tensor<f64>], x: &Tensor<f64>, y: &Tensor<f64>) -> Result<Tensor<f64>> {
    let [w1, b1, w2] = parameters else { unreachable!("three parameters") };
    let hidden = x.matmul(w1)?.add(b1)?.relu()?;
    let error = hidden.matmul(w2)?.add(y)?;
    error.mul(&error)?.mean()
}

fn main() -> Result<()> {
    let device = Device::cpu()?;
    let x = Tensor::from_slice(&device, &[0.5, -1.0, 1.5, 0.25, -0.75, 2.0], [3, 2])?;
    let minus_y = Tensor::from_slice(&device, &[-1.0, 0.5, -2.0], [3, 1])?;

    // Parameters live in one flat arena, and so do their gradients.
    let arena = Arena::new(&device)?;
    let parameters = [
        arena.parameter(&[0.3, -0.6, 0.9, 0.2, 0.4, -0.5], [2, 3])?,
        arena.parameter(&[0.1, -0.2, 0.3], [3])?,
        arena.parameter(&[0.7, -0.4, 0.6], [3, 1])?,
    ];

    // Forward: ops leave nodes behind. Backward: they are walked once, in reverse.
    let value = loss(&parameters, &x, &minus_y)?;
    value.backward()?;
    println!("loss {:.6}\n", value.item()?);

    println!("{:<12}{:>14}{:>18}{:>12}", "parameter", "tape", "differences", "error");
    for (name, parameter) in ["w1", "b1", "w2"].into_iter().zip(&parameters) {
        let gradient = parameter.grad()?.map_or(Ok(vec![]), |gradient| gradient.to_vec())?;
        let values = parameter.to_vec()?;
        for (i, tape) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                parameter.set(&moved)?;
                no_grad(|| loss(&parameters, &x, &minus_y))?.item()
            };
            let differences = (at(1e-6)? - at(-1e-6)?) / 2e-6;
            parameter.set(&values)?;
            let error = (tape - differences).abs();
            println!("{:<12}{tape:>14.9}{differences:>18.9}{error:>12.1e}", format!("{name}[{i}]"));
        }
    }
    Ok(())
}
