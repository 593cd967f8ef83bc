//! Which layers are at work, for who wants to know what each launches.

use super::Sequential;
use crate::dtype::Float;
use crate::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// What is at work in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// These layers, forward or backward; several where one op computes them.
    Layers(Range<usize>),
    /// The loss.
    Loss,
    /// What is no part of the model: the optimizer, say.
    Outside,
}

/// Told of each change of place, before it.
pub(super) type Watch = Arc<dyn Fn(Place) + Send + Sync>;

impl<T: Float> Sequential<T> {
    /// Has `watch` called whenever other layers begin to work, in forward and in backward passes.
    pub(crate) fn on_place(&self, watch: impl Fn(Place) + Send + Sync + 'static) {
        *self.places.lock() = Some(Arc::new(watch));
    }

    /// Says that `place` is at work from here on.
    pub(crate) fn enter(&self, place: Place) {
        let watch = self.places.lock().clone();
        if let Some(watch) = watch {
            watch(place);
        }
    }

    /// `output`, which `place` made: when its gradient comes, `place` is at work again.
    pub(super) fn left(&self, place: Place, output: Tensor<T>) -> Result<Tensor<T>> {
        let watch = self.places.lock().clone();
        let Some(watch) = watch else { return Ok(output) };
        Ok(output.detach().with_grad_fn([Some(&output)], move |[x], gradient, gradients| {
            watch(place);
            gradients.pass(x, gradient)
        }))
    }

    /// What people call a place: `0 Conv2d to 4 MaxPool2d`, `loss`; nothing outside of the model.
    pub(crate) fn name_of(&self, place: &Place) -> String {
        let name = |i: usize| format!("{i} {}", self.modules[i].name());
        match place {
            Place::Layers(layers) if layers.len() == 1 => name(layers.start),
            Place::Layers(layers) => format!("{} to {}", name(layers.start), name(layers.end - 1)),
            Place::Loss => "loss".to_owned(),
            Place::Outside => String::new(),
        }
    }
}
