use super::{ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs, ConvBlockKernels, Normaliser};
use crate::Result;
use crate::device::cuda::{CudaBuffer, CudaView, CudaViewMut, THREADS, Tuning, pack_grid};
use crate::device::{Backend, Cuda, Output};
use crate::dtype::Float;
use crate::ops::batch_norm2d::Running;
use crate::ops::dropout::DropoutView;

const FILE: &str = "conv_block";

/// Pixels of which the convolution leaves a mean and squares: columns of a tile of `gemm.cuh`.
const TILE: u32 = 64;
/// Blocks beyond which channels are not cut any more.
const ENOUGH_BLOCKS: u32 = 1024;

/// What the backward pass needs.
pub struct CudaSaved<T: Float> {
    /// The convolution's output, `[N, O, OH, OW]`.
    convolved: CudaBuffer<T>,
    /// `[O]`.
    mean: CudaBuffer<T>,
    /// `[O]`.
    invstd: CudaBuffer<T>,
    /// Whether these are the batch's.
    batch_statistics: bool,
    /// The place of each window's maximum in its window, `[N, O, PH, PW]`, in one byte each or four.
    argmax: CudaBuffer<u8>,
}

/// Blocks of one channel's pooled elements; by the shape alone, so that the same bits come out on
/// every GPU.
fn chunks(geometry: &ConvBlockGeometry) -> u32 {
    let elements = geometry.conv.batch * geometry.pool.out_height * geometry.pool.out_width;
    elements
        .div_ceil(Tuning::get().chunk)
        .clamp(1, (ENOUGH_BLOCKS / geometry.conv.out_channels).max(1))
}

impl<T: Float> ConvBlockKernels<T> for Cuda {
    type ConvBlockSaved = CudaSaved<T>;

    fn conv_block_forward(
        &self,
        geometry: &ConvBlockGeometry,
        eps: T,
        inputs: ConvBlockInputs<'_, Self, T>,
        normaliser: Normaliser<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        output: CudaViewMut<'_, T>,
        keep: bool,
    ) -> Result<Option<CudaSaved<T>>> {
        let ConvBlockGeometry { conv, pool } = geometry;
        let ConvBlockInputs { input, weight, bias, affine } = inputs;
        let channels = conv.out_channels;
        let pixels = conv.out_pixels();
        let batch_statistics = matches!(normaliser, Normaliser::Batch(_));

        let mut convolved = self.alloc::<T>(geometry.channels().numel())?;
        let parts = 2 * channels as usize * pixels.div_ceil(TILE) as usize;
        let mut parts = self.alloc::<f64>(if batch_statistics { parts } else { 0 })?;
        let product = conv.forward_product(["conv_block_conv", "conv_block_conv_few"]);
        let mut partials = product.partials(self)?;
        let launch = self.kernel_for::<T>(FILE, product.name, &geometry.constants())?;
        product
            .begin(launch, conv, &mut partials, [input, weight])
            .optional(bias)
            .output(Self::view_mut(&mut convolved))
            .optional_output(batch_statistics.then(|| Self::view_mut(&mut parts)))
            .launch(product.grid(), product.block)?;

        let windows = geometry.windows() as usize;
        let place = if pool.kernel_size[0] * pool.kernel_size[1] <= 256 { 1 } else { 4 };
        let mut mean = self.alloc(if keep { channels as usize } else { 0 })?;
        let mut invstd = self.alloc(if keep { channels as usize } else { 0 })?;
        let mut argmax = self.alloc(if keep { windows * place } else { 0 })?;
        let chunks = chunks(geometry);
        let momentum = match &normaliser {
            Normaliser::Batch(Some(running)) => running.momentum,
            _ => T::zero(),
        };
        let (drop, step) = DropoutView::parts(drop);
        let launch = self
            .kernel_for::<T>(FILE, "conv_block_pool", &geometry.constants())?
            .cost(geometry.pool_cost::<T>(keep))
            .value(*geometry)
            .value(drop)
            .value(chunks)
            .value(eps)
            .value(momentum)
            .input(Self::view(&convolved))
            .optional(batch_statistics.then(|| Self::view(&parts)))
            .optional(affine.weight)
            .optional(affine.bias)
            .optional(step);
        let launch = match normaliser {
            Normaliser::Batch(Some(Running { mean, var, .. })) => launch.output(mean).output(var),
            Normaliser::Batch(None) => launch.value(0_u64).value(0_u64),
            Normaliser::Running { mean, var } => launch.input(mean).input(var),
        };
        launch
            .output(output)
            .optional_output(keep.then(|| Self::view_mut(&mut mean)))
            .optional_output(keep.then(|| Self::view_mut(&mut invstd)))
            .optional_output(keep.then(|| Self::view_mut(&mut argmax)))
            .launch([channels * chunks, 1, 1], [THREADS, 1, 1])?;
        Ok(keep.then_some(CudaSaved { convolved, mean, invstd, batch_statistics, argmax }))
    }

    fn conv_block_backward(
        &self,
        geometry: &ConvBlockGeometry,
        inputs: ConvBlockInputs<'_, Self, T>,
        drop: Option<DropoutView<'_, Self>>,
        saved: CudaSaved<T>,
        output: CudaView<'_, T>,
        grad_output: CudaView<'_, T>,
        gradients: ConvBlockGradients<'_, Self, T>,
    ) -> Result<()> {
        let ConvBlockGradients { input, weight, bias, scale, shift } = gradients;
        let CudaSaved { convolved, mean, invstd, batch_statistics, argmax } = saved;
        let factor = drop.map_or(T::one(), |drop| T::of(drop.geometry.scale));
        let channels = geometry.conv.out_channels as usize;
        let beyond_norm = input.is_some() || weight.is_some() || bias.is_some();

        let mut sums = self.alloc::<T>(2 * channels)?;
        if scale.is_some() || shift.is_some() || (beyond_norm && batch_statistics) {
            let chunks = chunks(geometry);
            let partials = if chunks == 1 { 0 } else { 2 * channels * chunks as usize };
            let mut partials = self.alloc::<f64>(partials)?;
            self.kernel_for::<T>(FILE, "conv_block_sums", &geometry.constants())?
                .cost(geometry.sums_cost::<T>())
                .value(*geometry)
                .value(chunks)
                .value(factor)
                .input(Self::view(&convolved))
                .input(Self::view(&mean))
                .input(Self::view(&invstd))
                .input(output)
                .input(grad_output)
                .input(Self::view(&argmax))
                .output(Self::view_mut(&mut partials))
                .counters(if chunks == 1 { 0 } else { channels as u32 })
                .output(Self::view_mut(&mut sums))
                .optional_gradient(scale)
                .optional_gradient(shift)
                .launch([channels as u32 * chunks, 1, 1], [THREADS, 1, 1])?;
        }
        if !beyond_norm {
            return Ok(());
        }
        let numel = geometry.channels().numel();
        let mut grad_convolved = self.alloc::<T>(numel)?;
        self.kernel_for::<T>(FILE, "conv_block_unpool", &geometry.constants())?
            .cost(geometry.unpool_cost::<T>())
            .value(*geometry)
            .value(factor)
            .input(Self::view(&convolved))
            .input(Self::view(&mean))
            .input(Self::view(&invstd))
            .optional(inputs.affine.weight)
            .input(output)
            .input(grad_output)
            .input(Self::view(&argmax))
            .optional(batch_statistics.then(|| Self::view(&sums)))
            .output(Self::view_mut(&mut grad_convolved))
            .launch(pack_grid::<T>(numel), [THREADS, 1, 1])?;

        let grad_convolved = Self::view(&grad_convolved);
        if weight.is_some() || bias.is_some() {
            backward_parameters(self, geometry, inputs.input, grad_convolved, weight, bias)?;
        }
        match input {
            Some(input) => backward_input(self, geometry, grad_convolved, inputs.weight, input),
            None => Ok(()),
        }
    }
}

/// The gradients of the convolution's weight and bias.
fn backward_parameters<T: Float>(
    device: &Cuda,
    geometry: &ConvBlockGeometry,
    input: CudaView<'_, T>,
    grad_convolved: CudaView<'_, T>,
    weight: Option<Output<'_, Cuda, T>>,
    bias: Option<Output<'_, Cuda, T>>,
) -> Result<()> {
    let conv = &geometry.conv;
    // The bias is one more column of the weight, whose inputs are 1.
    let columns = weight.as_ref().map_or(0, |_| conv.taps()) + u32::from(bias.is_some());
    let product = conv.weight_product(["conv_block_weight", "conv_block_weight_few"], columns);
    let mut partials = product.partials(device)?;
    let launch = device.kernel_for::<T>(FILE, product.name, &geometry.constants())?;
    product
        .begin(launch, conv, &mut partials, [input, grad_convolved])
        .optional_gradient(weight)
        .optional_gradient(bias)
        .launch(product.grid(), product.block)
}

/// The gradient of the convolution's input.
fn backward_input<T: Float>(
    device: &Cuda,
    geometry: &ConvBlockGeometry,
    grad_convolved: CudaView<'_, T>,
    weight: CudaView<'_, T>,
    grad_input: Output<'_, Cuda, T>,
) -> Result<()> {
    let conv = &geometry.conv;
    let product = conv.input_product(["conv_block_input", "conv_block_input_few"]);
    let mut partials = product.partials(device)?;
    let launch = device.kernel_for::<T>(FILE, product.name, &geometry.constants())?;
    product
        .begin(launch, conv, &mut partials, [grad_convolved, weight])
        .gradient(grad_input)
        .launch(product.grid(), product.block)
}
