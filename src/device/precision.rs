//! What a GPU's tensor cores round the operands of products to.
#![forbid(unsafe_code)]

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The oldest compute capability whose tensor cores know tf32 and bf16: Ampere.
pub const TENSOR_CORES_SINCE: (u32, u32) = (8, 0);

/// What the operands of a product are rounded to before they are multiplied. Products are summed,
/// and everything is stored, in float32; float64 is never rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Nothing is rounded
    #[default]
    F32,
    /// To 10 bits of mantissa, ties away from zero
    Tf32,
    /// To 7 bits of mantissa, ties to even
    Bf16,
}

/// The precision of each kind of product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precisions {
    /// Of convolutions: `torch.backends.cudnn.allow_tf32`.
    pub convolution: Precision,
    /// Of matrix products and linear layers: `torch.backends.cuda.matmul.allow_tf32`.
    pub matmul: Precision,
}

impl Precision {
    /// Those that a GPU of `capability` can compute in.
    pub fn of_capability(capability: (u32, u32)) -> &'static [Self] {
        if capability < TENSOR_CORES_SINCE {
            &[Self::F32]
        } else {
            &[Self::F32, Self::Tf32, Self::Bf16]
        }
    }

    /// The unit roundoff `u`: an operand `x` becomes `x (1 + d)` with `|d| <= u`, so a product of two
    /// is off by at most `(2 u + u^2) |a b|`. 0 where nothing is rounded.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F32 => 0.0,
            // Half of the last of 10 or 7 bits behind the leading one.
            Self::Tf32 => 2_f64.powi(-11),
            Self::Bf16 => 2_f64.powi(-8),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

impl Precisions {
    /// PyTorch's defaults on a GPU of `capability`: convolutions in tf32 where its tensor cores know
    /// it, all else in f32.
    pub fn of_capability(capability: (u32, u32)) -> Self {
        let known = Precision::of_capability(capability).contains(&Precision::Tf32);
        let convolution = if known { Precision::Tf32 } else { Precision::F32 };
        Self { convolution, matmul: Precision::F32 }
    }

    /// Checks that tensor cores of `capability` know them; `name` is the GPU's.
    pub(super) fn check(self, name: &str, capability: (u32, u32)) -> Result<()> {
        let known = Precision::of_capability(capability);
        match [self.convolution, self.matmul].into_iter().find(|wanted| !known.contains(wanted)) {
            Some(precision) => {
                let ((major, minor), since) = (capability, TENSOR_CORES_SINCE);
                let message = format!(
                    "{precision} needs compute capability {}.{}, and {name} has {major}.{minor}; \
                     use f32",
                    since.0, since.1
                );
                Err(Error::argument("precision", message))
            }
            None => Ok(()),
        }
    }
}

impl From<Precision> for Precisions {
    fn from(precision: Precision) -> Self {
        Self { convolution: precision, matmul: precision }
    }
}

impl fmt::Display for Precisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { convolution, matmul } = self;
        if convolution == matmul {
            return convolution.fmt(f);
        }
        write!(f, "{convolution} in convolutions, {matmul} in matrix products")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_pytorchs() {
        let ampere = Precisions { convolution: Precision::Tf32, matmul: Precision::F32 };
        for (capability, expected) in
            [((7, 5), Precision::F32.into()), ((8, 0), ampere), ((8, 6), ampere), ((12, 0), ampere)]
        {
            assert_eq!(Precisions::of_capability(capability), expected, "{capability:?}");
        }
    }

    #[test]
    fn older_gpus_are_refused_by_name() {
        for precision in [Precision::Tf32, Precision::Bf16] {
            let error = Precisions::from(precision).check("Tesla T4", (7, 5)).unwrap_err();
            let expected = format!(
                "precision: {precision} needs compute capability 8.0, and Tesla T4 has 7.5; \
                 use f32"
            );
            assert_eq!(error.to_string(), expected);
            Precisions::from(precision).check("A100", (8, 0)).unwrap();
        }
        Precisions::from(Precision::F32).check("Tesla T4", (7, 5)).unwrap();
    }

    #[test]
    fn both_kinds_are_named_where_they_differ() {
        assert_eq!(Precisions::from(Precision::Bf16).to_string(), "bf16");
        let mixed = Precisions::of_capability((9, 0)).to_string();
        assert_eq!(mixed, "tf32 in convolutions, f32 in matrix products");
    }
}
