use super::Measured;
use super::repeated::{Graphs, Repeated};
use crate::data::DataLoader;
use crate::device::Device;
use crate::dtype::Float;
use crate::nn::{Context, Forward};
use crate::ops::cross_entropy_rows::cross_entropy_rows;
use crate::{Error, Result, Tensor, no_grad};

/// Images that go through a model at once: more than in training, to keep a GPU busy, and few enough
/// that their activations stay below 100 MB. The losses are those of the loader's batches all the
/// same.
const ROWS: usize = 256;

/// A model on a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Loss and accuracy to the notebook's definition.
    pub measured: Measured,
    /// The class that each image was taken for.
    pub predicted: Vec<usize>,
    /// The cross-entropy of each image.
    pub losses: Vec<f64>,
}

/// Runs `model` in evaluation mode over the images of `loader`, and puts it back into its mode, which its
/// layers know by `context`.
///
/// # Errors
/// [`Error::Shape`] when the images do not fit the model or it has fewer outputs than there are
/// `classes`; [`Error::Device`] when the device fails.
pub fn evaluate<T: Float>(
    model: &impl Forward<T>,
    context: &Context,
    loader: &DataLoader<T>,
    classes: usize,
) -> Result<Evaluation> {
    let mut validation = Validation::new(&context.device(), loader.clone(), classes)?;
    validation.run(model, context, &mut Graphs::default())
}

/// What [`evaluate`] does, as often as asked and as one graph.
pub(super) struct Validation<T: Float> {
    loader: DataLoader<T>,
    /// The images' labels in the order of `order`.
    labels: Vec<i32>,
    classes: usize,
    /// `[N]`, as all that follows.
    order: Tensor<u32>,
    losses: Tensor<T>,
    predicted: Tensor<i32>,
    pass: Repeated,
    /// Told how many images are done, and of how many.
    pub(super) watch: Option<Box<dyn FnMut(usize, usize) + Send>>,
}

impl<T: Float> Validation<T> {
    /// On the images of `loader`, which are of so many `classes`.
    pub(super) fn new(device: &Device, loader: DataLoader<T>, classes: usize) -> Result<Self> {
        let (order, labels, rows) = (loader.order(0), loader.labels()?, loader.rows());
        Ok(Self {
            labels: order.iter().map(|&row| labels[row as usize]).collect(),
            order: Tensor::from_slice(device, &order, [rows])?,
            losses: Tensor::zeros(device, [rows])?,
            predicted: Tensor::zeros(device, [rows])?,
            pass: Repeated::New,
            watch: None,
            loader,
            classes,
        })
    }

    pub(super) fn run(
        &mut self,
        model: &impl Forward<T>,
        context: &Context,
        graphs: &mut Graphs,
    ) -> Result<Evaluation> {
        let training = context.training();
        context.train(false);
        let result = self.pass(model, graphs);
        context.train(training);
        result?;
        self.results()
    }

    /// Leaves the loss and the class of every image on the device.
    pub(super) fn pass(&mut self, model: &impl Forward<T>, graphs: &mut Graphs) -> Result<()> {
        let Self { loader, order, losses, predicted, classes, pass, watch, .. } = self;
        let (rows, classes) = (loader.rows(), *classes);
        pass.run(order.device(), model, graphs, || {
            for start in (0..rows).step_by(ROWS) {
                let count = ROWS.min(rows - start);
                let (images, targets) = loader.gather(&order.rows(start, count))?;
                let logits = no_grad(|| model.forward(&images))?;
                let [_, outputs] =
                    logits.shape().expect("evaluate", "[N, classes] from the model")?;
                if outputs < classes {
                    let message =
                        format!("the model tells {outputs} classes apart, the data has {classes}");
                    return Err(Error::shape("evaluate", message));
                }
                let (losses, predicted) = (losses.rows(start, count), predicted.rows(start, count));
                cross_entropy_rows(&logits, &targets, &losses, &predicted)?;
                if let Some(watch) = watch {
                    watch(start + count, rows);
                }
            }
            Ok(())
        })
    }

    fn results(&self) -> Result<Evaluation> {
        let (losses, predicted) = (self.losses.to_vec()?, self.predicted.to_vec()?);
        // The mean of a batch, rounded as `cross_entropy` does.
        let mean = |losses: &[T]| {
            let total: f64 = losses.iter().map(|loss| loss.as_f64()).sum();
            (T::of(total) * (T::one() / T::of(losses.len() as f64))).as_f64()
        };
        let loss = losses.chunks(self.loader.batch_size()).map(mean).sum();
        let hits =
            self.labels.iter().zip(&predicted).filter(|(label, guess)| label == guess).count();
        let accuracy = hits as f64 / self.labels.len() as f64;
        Ok(Evaluation {
            measured: Measured { loss, accuracy },
            predicted: predicted.into_iter().map(|class| class as usize).collect(),
            losses: losses.into_iter().map(T::as_f64).collect(),
        })
    }
}
