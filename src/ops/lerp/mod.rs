//! A step from one tensor towards another, in place: the moving average of a model's parameters.

mod cpu;
mod cuda;

use crate::device::kernels;

kernels! {
    /// What moving averages ask of a device.
    pub(crate) trait LerpKernels<T: Float>: Backend {
        /// `x += weight (end - x)`, element by element.
        fn lerp(
            &self,
            weight: T,
            end: Self::View<'_, T>,
            x: Self::ViewMut<'_, T>,
        ) -> Result<()>;
    }
}
