//! Settings of the engine as values of flags, by name. clap derives that for types of this crate alone.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use signet::device::Precision;
use signet::train::{OptimizerKind, ScheduleKind};

/// A setting with a few values.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Each value: as the flag takes it, what `--help` says of it, itself.
    const VALUES: &'static [(&'static str, &'static str, Self)];
}

impl Choice for OptimizerKind {
    const VALUES: &'static [(&'static str, &'static str, Self)] = &[
        ("adam", "`torch.optim.Adam`", Self::Adam),
        ("adamw", "`torch.optim.AdamW`", Self::AdamW),
        ("sgd", "`torch.optim.SGD`", Self::Sgd),
    ];
}

impl Choice for ScheduleKind {
    const VALUES: &'static [(&'static str, &'static str, Self)] = &[
        ("constant", "The same rate all along", Self::Constant),
        ("step", "Times `gamma` every `step-size` epochs", Self::Step),
        (
            "cosine",
            "Up to the full rate in `warmup` epochs, then down to 0 along half a cosine",
            Self::Cosine,
        ),
    ];
}

impl Choice for Precision {
    const VALUES: &'static [(&'static str, &'static str, Self)] = &[
        ("f32", "Nothing is rounded", Self::F32),
        ("tf32", "To 10 bits of mantissa, ties away from zero", Self::Tf32),
        ("bf16", "To 7 bits of mantissa, ties to even", Self::Bf16),
    ];
}

/// What clap needs for a flag of such values.
pub fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    let values = T::VALUES.iter().map(|(name, help, _)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).try_map(|given| {
        let found = T::VALUES.iter().find(|(name, ..)| *name == given);
        found.map(|(.., value)| *value).ok_or("it is not among the values")
    })
}

/// A value as its flag takes it.
pub fn name<T: Choice>(value: T) -> &'static str {
    T::VALUES.iter().find(|(.., own)| *own == value).map_or("", |(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of runs have the same names.
    #[test]
    fn a_value_is_called_as_in_records() {
        fn check<T: Choice + serde::Serialize>(count: usize) {
            assert_eq!(T::VALUES.len(), count);
            for (name, _, value) in T::VALUES {
                assert_eq!(serde_json::to_value(value).unwrap(), *name);
                assert_eq!(super::name(*value), *name);
            }
        }
        check::<OptimizerKind>(3);
        check::<ScheduleKind>(3);
        check::<Precision>(3);
    }
}
