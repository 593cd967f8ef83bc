use super::{Conv2dGeometry, Conv2dKernels};
use crate::Result;
use crate::device::cuda::{CudaBuffer, CudaView, CudaViewMut, Launch, THREADS, grid};
use crate::device::{Backend, Cost, Cuda, Output};
use crate::dtype::Float;
use crate::ops::matmul::cuda::{Split, Tiling};
use crate::ops::sum::ChannelGeometry;
use crate::ops::sum::cuda::Chunks;

const FILE: &str = "conv2d";

/// One of a convolution's products, cut into tiles and slices, for the kernels that `GEMM_KERNEL` of
/// `gemm.cuh` defines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// The kernel's.
    pub(crate) name: &'static str,
    pub(crate) block: [u32; 3],
    /// Of the product of one group of channels.
    split: Split,
    groups: u32,
}

impl Product {
    /// An `[m, n]` result for each of `groups`, whose sums have `k` elements. `names` are those of the kernel with tiles of 64
    /// rows, and of that with 32 for where 64 leave more of the last tile empty.
    fn new([many, few]: [&'static str; 2], groups: u32, [m, n, k]: [u32; 3]) -> Self {
        let is_few = m.next_multiple_of(32) < m.next_multiple_of(64);
        let (rows, name) = if is_few { (32, few) } else { (64, many) };
        let tiling = Tiling::new(rows, m, n);
        let tiles = tiling.tiles;
        // The tiles of all groups fill a GPU together.
        let tiling = Tiling { tiles: groups * tiles, ..tiling }.sliced(k);
        let split = Split::from(Tiling { tiles, ..tiling });
        Self { name, block: tiling.block(), split, groups }
    }

    pub(crate) fn grid(&self) -> [u32; 3] {
        [self.groups * self.split.blocks(), 1, 1]
    }

    /// Room for the sums of slices.
    pub(crate) fn partials<T: Float>(&self, device: &Cuda) -> Result<CudaBuffer<T>> {
        device.alloc(self.groups as usize * self.split.partials(self.block[0]))
    }

    /// Gives `launch` what all these kernels take first.
    pub(crate) fn begin<'a, T: Float>(
        &self,
        launch: Launch<'a>,
        conv: &Conv2dGeometry,
        partials: &'a mut CudaBuffer<T>,
        [a, b]: [CudaView<'a, T>; 2],
    ) -> Launch<'a> {
        let Cost { flops, bytes } = self.split.cost::<T>(self.block[0]);
        let groups = u64::from(self.groups);
        launch
            .cost(conv.cost::<T>() + Cost { flops: groups * flops, bytes: groups * bytes })
            .value(*conv)
            .value(self.split)
            .output(Cuda::view_mut(partials))
            .counters(self.groups * self.split.counters())
            .input(a)
            .input(b)
    }
}

impl Conv2dGeometry {
    /// Output pixels of the batch.
    pub(crate) fn out_pixels(&self) -> u32 {
        self.batch * self.out_height * self.out_width
    }

    /// The product that is the output, by kernels of these names.
    pub(crate) fn forward_product(&self, names: [&'static str; 2]) -> Product {
        Product::new(names, self.groups, [self.out_channels, self.out_pixels(), self.taps()])
    }

    /// The product that is the gradient of the input.
    pub(crate) fn input_product(&self, names: [&'static str; 2]) -> Product {
        let pixels = self.batch * self.height * self.width;
        let summed = self.out_channels * self.kernel_size[0] * self.kernel_size[1];
        Product::new(names, self.groups, [self.in_channels, pixels, summed])
    }

    /// The product that is the gradient of `columns` taps of each filter.
    pub(crate) fn weight_product(&self, names: [&'static str; 2], columns: u32) -> Product {
        Product::new(names, self.groups, [self.out_channels, columns, self.out_pixels()])
    }
}

impl<T: Float> Conv2dKernels<T> for Cuda {
    fn conv2d_forward(
        &self,
        geometry: &Conv2dGeometry,
        input: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        bias: Option<CudaView<'_, T>>,
        output: CudaViewMut<'_, T>,
    ) -> Result<()> {
        if geometry.is_narrow() {
            let n = output.len();
            return self
                .kernel_for::<T>(FILE, "conv2d_narrow_forward", geometry.constants())?
                .cost(geometry.cost::<T>())
                .value(*geometry)
                .input(input)
                .input(weight)
                .optional(bias)
                .output(output)
                .launch(grid(n), [THREADS, 1, 1]);
        }
        let product = geometry.forward_product(["conv2d_forward", "conv2d_forward_few"]);
        let mut partials = product.partials(self)?;
        let launch = self.kernel_for::<T>(FILE, product.name, geometry.constants())?;
        product
            .begin(launch, geometry, &mut partials, [input, weight])
            .optional(bias)
            .output(output)
            .launch(product.grid(), product.block)
    }

    fn conv2d_backward_input(
        &self,
        geometry: &Conv2dGeometry,
        grad_output: CudaView<'_, T>,
        weight: CudaView<'_, T>,
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        if geometry.is_narrow() {
            let n = grad_input.view.len();
            return self
                .kernel_for::<T>(FILE, "conv2d_narrow_backward_input", geometry.constants())?
                .cost(geometry.cost::<T>())
                .value(*geometry)
                .input(grad_output)
                .input(weight)
                .gradient(grad_input)
                .launch(grid(n), [THREADS, 1, 1]);
        }
        let names = ["conv2d_backward_input", "conv2d_backward_input_few"];
        let product = geometry.input_product(names);
        let mut partials = product.partials(self)?;
        let launch = self.kernel_for::<T>(FILE, product.name, geometry.constants())?;
        product
            .begin(launch, geometry, &mut partials, [grad_output, weight])
            .gradient(grad_input)
            .launch(product.grid(), product.block)
    }

    fn conv2d_backward_weight(
        &self,
        geometry: &Conv2dGeometry,
        input: CudaView<'_, T>,
        grad_output: CudaView<'_, T>,
        grad_weight: Output<'_, Self, T>,
    ) -> Result<()> {
        if geometry.is_narrow() {
            let weights = geometry.filters() * geometry.taps();
            // Each weight is a channel of what is summed.
            let summed = ChannelGeometry {
                outer: geometry.batch,
                channels: weights,
                inner: geometry.out_height * geometry.out_width,
            };
            let chunks = Chunks::of_channels(&summed);
            let mut partials = self.alloc::<f64>(chunks.partials(weights, 1))?;
            return self
                .kernel_for::<T>(FILE, "conv2d_narrow_backward_weight", geometry.constants())?
                .cost(geometry.cost::<T>() + chunks.cost(weights, 1))
                .value(*geometry)
                .value(chunks.count)
                .value(chunks.units)
                .input(input)
                .input(grad_output)
                .output(Self::view_mut(&mut partials))
                .counters(chunks.counters())
                .gradient(grad_weight)
                .launch(chunks.grid(), [THREADS, 1, 1]);
        }
        let names = ["conv2d_backward_weight", "conv2d_backward_weight_few"];
        let product = geometry.weight_product(names, geometry.taps());
        let mut partials = product.partials(self)?;
        let launch = self.kernel_for::<T>(FILE, product.name, geometry.constants())?;
        product
            .begin(launch, geometry, &mut partials, [input, grad_output])
            .gradient(grad_weight)
            .launch(product.grid(), product.block)
    }
}
