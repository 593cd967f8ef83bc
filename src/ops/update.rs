//! What an optimizer's kernel is told beside gradients and moments: which elements are whose, the
//! options of each group of parameters, and the steps that each parameter has made.
//!
//! All of it lies in device memory: one launch updates a whole model, and a step that was captured as
//! a graph finds the learning rate and the steps there.

use crate::Result;
use crate::device::cuda::{CudaView, CudaViewMut, THREADS};
use crate::device::{Backend, Cost, Cuda, each_field_on};
use crate::dtype::Float;
use std::ops::Range;

/// Elements of a parameter that one block of a GPU, or one task of the CPU, updates.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct UpdateTile {
    /// The first, in the flat buffers.
    pub start: u32,
    /// Behind the last.
    pub end: u32,
    /// Whose they are.
    pub parameter: u32,
    /// Whose options they follow.
    pub group: u32,
}

impl UpdateTile {
    /// The most elements of a tile: a pack of 16 bytes for each of 256 threads.
    pub const fn most<T>() -> usize {
        4096 / size_of::<T>()
    }

    /// The tiles of `parameter`, the elements `range`, in order; one without elements where it has
    /// none.
    pub fn of<T>(range: Range<u32>, parameter: u32, group: u32) -> impl Iterator<Item = Self> {
        let most = Self::most::<T>() as u32;
        let count = (range.end - range.start).div_ceil(most).max(1);
        (0..count).map(move |i| {
            let start = range.start + i * most;
            let end = range.end.min(start.saturating_add(most));
            Self { start, end, parameter, group }
        })
    }

    /// Words of a tile in device memory.
    pub const WORDS: usize = size_of::<Self>() / size_of::<u32>();
}

/// The tiles that one launch updates, of neighbouring parameters, and what they need.
pub(crate) struct Update<'a, M: Backend> {
    /// [`UpdateTile`]s in order, `[tiles * 4]`: all of each parameter.
    pub tiles: M::View<'a, u32>,
    /// The options of each group, one after the other.
    pub groups: M::View<'a, f64>,
    /// The steps that each parameter has made so far, `[parameters]`; those of the tiles' parameters
    /// grow by 1.
    pub steps: M::ViewMut<'a, u64>,
    /// The parameters of the tiles.
    pub parameters: Range<u32>,
    /// How many tiles.
    pub count: usize,
    /// Elements of all tiles.
    pub elements: usize,
}

each_field_on!(Update<'a> { tiles, groups, steps, parameters, count, elements });

impl Update<'_, Cuda> {
    /// Launches the kernel `name` of the file of that name, a block for each tile. After what all updates
    /// begin with, it takes its `moments`, of which some may be missing.
    pub(super) fn launch<T: Float, const N: usize>(
        self,
        device: &Cuda,
        name: &'static str,
        cost: Cost,
        parameters: CudaViewMut<'_, T>,
        gradients: CudaView<'_, T>,
        moments: [Option<CudaViewMut<'_, T>>; N],
    ) -> Result<()> {
        let Self { tiles, groups, steps, parameters: of, count, .. } = self;
        let kernel = device
            .kernel::<T>(name, name)?
            .cost(cost)
            .input(tiles)
            .input(groups)
            .output(steps)
            .value(of.start)
            .value(of.end)
            .counters(1)
            .output(parameters)
            .input(gradients);
        let kernel = moments.into_iter().fold(kernel, |kernel, it| kernel.optional_output(it));
        kernel.launch([count as u32, 1, 1], [THREADS, 1, 1])
    }
}

/// Going through tiles on the CPU.
pub(super) mod on_cpu {
    use super::UpdateTile;

    /// Tiles that one task takes: enough to outweigh the hand-over.
    pub(in crate::ops) const TILES: usize = 16;

    /// The tiles' elements of a flat buffer.
    pub(in crate::ops) fn cut<'a, T>(
        buffer: &'a mut [T],
        tiles: &[UpdateTile],
    ) -> Vec<&'a mut [T]> {
        let (mut rest, mut at) = (buffer, 0);
        let cut = tiles.iter().map(|tile| {
            let [start, end] = [tile.start, tile.end].map(|at| at as usize);
            let (_, from) = std::mem::take(&mut rest).split_at_mut(start - at);
            let (elements, behind) = from.split_at_mut(end - start);
            (rest, at) = (behind, end);
            elements
        });
        cut.collect()
    }

    /// [`cut`] of a buffer that may be missing.
    pub(in crate::ops) fn cut_optional<'a, T>(
        buffer: Option<&'a mut [T]>,
        tiles: &[UpdateTile],
    ) -> Vec<Option<&'a mut [T]>> {
        match buffer {
            Some(buffer) => cut(buffer, tiles).into_iter().map(Some).collect(),
            None => tiles.iter().map(|_| None).collect(),
        }
    }

    /// `value` of the first tile of each parameter, in the order of the parameters.
    pub(in crate::ops) fn of_parameters<V>(
        tiles: &[UpdateTile],
        value: impl Fn(&UpdateTile) -> V,
    ) -> Vec<V> {
        tiles.chunk_by(|a, b| a.parameter == b.parameter).map(|tiles| value(&tiles[0])).collect()
    }

    /// The first parameter that has a tile.
    pub(in crate::ops) fn first_parameter(tiles: &[UpdateTile]) -> usize {
        tiles.first().map_or(0, |tile| tile.parameter as usize)
    }

    /// Every parameter of the tiles has made one step more.
    pub(in crate::ops) fn count_steps(tiles: &[UpdateTile], steps: &mut [u64]) {
        for tiles in tiles.chunk_by(|a, b| a.parameter == b.parameter) {
            steps[tiles[0].parameter as usize] += 1;
        }
    }
}
