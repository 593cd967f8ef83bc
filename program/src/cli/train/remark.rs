//! What a loss that does not fall says about the learning rate.

use crate::report::words;

/// A remark on the first epoch that shows no learning, if `epoch` does: its mean training loss is
/// `loss`, and the classes are so many.
pub fn remark(epoch: u64, loss: f64, classes: usize, lr: f64) -> Option<String> {
    let guessing = (classes as f64).ln();
    // A network begins near what guessing has, and a first epoch of a few steps may end there.
    let diverges = loss > 2.0 * guessing.max(0.1);
    let stays = epoch > 0 && loss > 0.97 * guessing && classes > 1;
    if !diverges && !stays {
        return None;
    }
    let advice = if diverges {
        format!("the learning rate {lr} is too large; try --lr {}", tenth(lr))
    } else {
        format!("it does not learn with the learning rate {lr}; try another --lr")
    };
    Some(format!(
        "remark: the mean training loss of epoch {epoch} is {}, where guessing has \
         {guessing:.4}: {advice}",
        words::loss(loss)
    ))
}

/// A tenth of `lr`, without the digits that a division adds.
fn tenth(lr: f64) -> String {
    let digits = format!("{:e}", lr);
    let (mantissa, power) = digits.split_once('e').unwrap_or((&digits, "0"));
    let power = power.parse::<i32>().unwrap_or(0) - 1;
    let value: f64 = format!("{mantissa}e{power}").parse().unwrap_or(lr / 10.0);
    if (1e-4..1e6).contains(&value) { format!("{value}") } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_is_too_large_gets_a_remark_and_a_good_one_none() {
        assert_eq!(remark(0, 3.3, 24, 0.001), None, "a first epoch of a few steps");
        assert_eq!(remark(0, 0.3, 24, 0.001), None);
        assert_eq!(remark(7, 3.0, 24, 0.001), None, "slow, and learning");
        let text = remark(0, 45.25, 24, 0.3).unwrap();
        assert_eq!(
            text,
            "remark: the mean training loss of epoch 0 is 45.2500, where guessing has 3.1781: the \
             learning rate 0.3 is too large; try --lr 0.03"
        );
        let text = remark(1, 3.18, 24, 1e-12).unwrap();
        assert!(
            text.ends_with("with the learning rate 0.000000000001; try another --lr"),
            "{text}"
        );
        assert_eq!([0.3, 1.0, 10.0, 0.0005, 1e30].map(tenth).join(" "), "0.03 0.1 1 5e-5 1e29");
        assert_eq!(remark(5, 0.0, 1, 0.1), None, "one class is no riddle");
    }
}
