//! A model's values on the host, by PyTorch's keys.

use crate::dtype::Float;
use crate::{Error, Result, Shape};

/// Values by name, in a fixed order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StateDict(Vec<(String, Value)>);

/// One tensor on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its shape.
    pub shape: Shape,
    /// Its elements, row-major.
    pub values: Values,
}

/// Elements of one of the types that files hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// float32
    F32(Vec<f32>),
    /// float64
    F64(Vec<f64>),
    /// int64
    I64(Vec<i64>),
}

impl Values {
    /// Elements of `T`, without a conversion.
    pub fn float<T: Float>(values: Vec<T>) -> Self {
        if size_of::<T>() == size_of::<f32>() {
            Self::F32(bytemuck::allocation::cast_vec(values))
        } else {
            Self::F64(bytemuck::allocation::cast_vec(values))
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as `T`.
    pub fn to_float<T: Float>(&self) -> Vec<T> {
        match self {
            Self::F32(values) => values.iter().map(|&x| T::of(f64::from(x))).collect(),
            Self::F64(values) => values.iter().map(|&x| T::of(x)).collect(),
            Self::I64(values) => values.iter().map(|&x| T::of(x as f64)).collect(),
        }
    }
}

impl StateDict {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Checks that the names and shapes are exactly `expected`.
    pub(super) fn expect<'a>(
        &self,
        expected: impl Iterator<Item = (&'a str, Shape)> + Clone,
    ) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, shape) in expected.clone() {
            match self.get(name) {
                None => wrong.push(format!("{name} {shape} is missing")),
                Some(value) if value.shape != shape => {
                    wrong.push(format!("{name} is {}, the model has {shape}", value.shape));
                }
                Some(value) if value.values.len() != shape.numel() => {
                    wrong.push(format!("{name} {shape} has {} values", value.values.len()));
                }
                Some(_) => {}
            }
        }
        for (name, value) in self.iter() {
            if !expected.clone().any(|(known, _)| known == name) {
                wrong.push(format!("{name} {} is unexpected", value.shape));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let more = wrong.len().saturating_sub(3);
        wrong.truncate(3);
        if more > 0 {
            wrong.push(format!("and {more} more"));
        }
        let message = format!("the values are of another model: {}", wrong.join("; "));
        Err(Error::shape("load_state_dict", message))
    }
}

impl FromIterator<(String, Value)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}
