//! Functions of two numbers, element by element with NumPy's broadcasting: a family, of which each member
//! is a line here, one in `cpu.rs` and one or two in `kernels/binary.cu`.
//!
//! | file | subject |
//! |---|---|
//! | `geometry.rs` | how the elements of operands meet |
//! | `comparison.rs`, `where_cond.rs` | what gives a mask, and what one chooses |
//! | `sum_to.rs` | the gradient of an operand that was repeated |

mod comparison;
mod cpu;
mod cuda;
mod geometry;
mod sum_to;
mod where_cond;

pub(crate) use comparison::Comparison;
pub(crate) use geometry::{Broadcast, broadcast};
use sum_to::sum_to;

use crate::device::{Backend, Cost, Device, Output, kernels};
use crate::dtype::{Float, Plain};
use crate::ops::unary::{Unary, UnaryKernels};
use crate::{Gradients, NodeId, Result, Shape, Tensor};

/// One of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    A,
    B,
}

impl Plain for Operand {}

/// A function's gradients by its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slopes {
    /// Constants, 1 or -1.
    Constant([i8; 2]),
    /// What kernels compute: for each operand, whether it needs a and b.
    Need([[bool; 2]; 2]),
}

/// Makes [`Binary`] of the lines of the table, and a method of [`Tensor`] of each.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $slopes:expr, $example:literal;)*) => {
        /// A function of two numbers, by the name of its kernels.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Binary {
            $($name,)*
        }

        impl Plain for Binary {}

        impl Binary {
            /// Every one of them.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The kernels: forward, and the gradient by each operand.
            fn kernels(self) -> [&'static str; 3] {
                match self {
                    $(Self::$name => [
                        concat!(stringify!($name), "_forward"),
                        concat!(stringify!($name), "_by_a"),
                        concat!(stringify!($name), "_by_b"),
                    ],)*
                }
            }

            fn slopes(self) -> Slopes {
                match self {
                    $(Self::$name => $slopes,)*
                }
            }
        }

        impl<T: Float> Tensor<T> {
            $(
                $(#[$doc])*
                /// From the last dimension on, sizes are equal or 1, or missing, and an operand is
                /// repeated where it has 1.
                ///
                /// ```
                /// # fn main() -> signet::Result<()> {
                /// use signet::{Device, Tensor};
                /// let device = Device::cpu()?;
                /// let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2])?;
                /// let y = Tensor::from_slice(&device, &[2.0_f32, 4.0], [2, 1])?;
                #[doc = concat!("assert_eq!(x.", stringify!($name), "(&y)?.to_vec()?, ", $example, ");")]
                /// # Ok(()) }
                /// ```
                ///
                /// # Errors
                /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit.
                pub fn $name(&self, other: &Self) -> Result<Self> {
                    self.binary(Binary::$name, other)
                }
            )*
        }
    };
}

table! {
    /// `self + other`.
    add: Slopes::Constant([1, 1]), "[3.0, 4.0, 7.0, 8.0]";
    /// `self - other`.
    sub: Slopes::Constant([1, -1]), "[-1.0, 0.0, -1.0, 0.0]";
    /// `self * other`.
    mul: Slopes::Need([[false, true], [true, false]]), "[2.0, 4.0, 12.0, 16.0]";
    /// `self / other`.
    div: Slopes::Need([[false, true], [true, true]]), "[0.5, 1.0, 0.75, 1.0]";
    /// `self` to the power of `other`, both tensors; for one exponent of all there is [`Tensor::pow`].
    pow_tensor: Slopes::Need([[true, true], [true, true]]), "[1.0, 4.0, 81.0, 256.0]";
    /// The larger of both; NaN where one is. Equal ones share the gradient.
    maximum: Slopes::Need([[true, true], [true, true]]), "[2.0, 2.0, 4.0, 4.0]";
    /// The smaller of both; NaN where one is. Equal ones share the gradient.
    minimum: Slopes::Need([[true, true], [true, true]]), "[1.0, 2.0, 3.0, 4.0]";
}

kernels! {
    /// What functions of two numbers ask of a device.
    pub(crate) trait BinaryKernels<T: Float>: Backend {
        /// `y = f(a, b)`; the third operand of the geometry has the result's shape.
        fn binary_forward(
            &self,
            function: Binary,
            geometry: &Broadcast,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            y: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// What `grad_y`, the third operand, is for the elements of one operand; as many as the result
        /// has.
        fn binary_backward(
            &self,
            function: Binary,
            by: Operand,
            geometry: &Broadcast,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            grad_y: Self::View<'_, T>,
            grad: Output<'_, Self, T>,
        ) -> Result<()>;

        /// `y` is 1 where it is true of `a` and `b`, else 0; the geometry as of
        /// [`BinaryKernels::binary_forward`].
        fn compare(
            &self,
            comparison: Comparison,
            geometry: &Broadcast,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            y: Self::ViewMut<'_, u8>,
        ) -> Result<()>;

        /// `y = mask ? a : b`; the operands of the geometry are `a`, `b` and `mask`.
        fn where_forward(
            &self,
            geometry: &Broadcast,
            mask: Self::View<'_, u8>,
            a: Self::View<'_, T>,
            b: Self::View<'_, T>,
            y: Self::ViewMut<'_, T>,
        ) -> Result<()>;

        /// `grad_y` where the mask chose the operand, else 0; the operands of the geometry are
        /// `grad_y`, `grad_y` and `mask`.
        fn where_backward(
            &self,
            by: Operand,
            geometry: &Broadcast,
            mask: Self::View<'_, u8>,
            grad_y: Self::View<'_, T>,
            grad: Output<'_, Self, T>,
        ) -> Result<()>;

        /// `y[i] = x[i]`, or `y[i] += x[i]`: a gradient that is passed on.
        fn accumulate(&self, x: Self::View<'_, T>, y: Output<'_, Self, T>) -> Result<()>;
    }
}

impl Binary {
    fn forward_cost<T>(self, g: &Broadcast) -> Cost {
        let operands = u64::from(g.repeat[0]) + u64::from(g.repeat[1]);
        Cost::elementwise::<T>(g.n as usize, 1, 1).moving::<T>(operands)
    }

    fn backward_cost<T>(self, by: Operand, g: &Broadcast, accumulate: bool) -> Cost {
        let needs = match self.slopes() {
            Slopes::Constant(_) => [false, false],
            Slopes::Need(needs) => needs[by as usize],
        };
        let operands = needs.iter().zip(g.repeat).filter(|(needed, _)| **needed);
        let operands = operands.map(|(_, elements)| u64::from(elements)).sum();
        let moved = 2 + u64::from(accumulate);
        Cost::elementwise::<T>(g.n as usize, moved, 1).moving::<T>(operands)
    }
}

impl<T: Float> Tensor<T> {
    /// `function` of every element of both.
    fn binary(&self, function: Binary, other: &Self) -> Result<Self> {
        let name = function.name();
        let shape = broadcast(name, &[self.shape(), other.shape()])?;
        let geometry = Broadcast::new(name, &shape, [self.shape(), other.shape(), &shape])?;
        let device = self.device().clone();
        let mut y = device.alloc(shape.numel())?;
        let (a, b) = (self.read(), other.read());
        device.binary_forward(function, &geometry, a.view(), b.view(), Device::view_mut(&mut y))?;
        let output = Self::from_buffer(&device, y, shape);
        let inputs = [Some(self), Some(other)];
        let needs = match function.slopes() {
            Slopes::Constant(signs) => {
                let shapes = [self.shape().clone(), other.shape().clone()];
                return Ok(output.with_grad_fn(inputs, move |[a, b], gradient, gradients| {
                    pass_on(&device, signs[1], &shapes[1], b, gradient.clone(), gradients)?;
                    // The last one may have the memory.
                    pass_on(&device, signs[0], &shapes[0], a, gradient, gradients)
                }));
            }
            Slopes::Need(needs) => needs,
        };
        let saved = (self.save(name, "first operand"), other.save(name, "second operand"));
        Ok(output.with_grad_fn(inputs, move |[a_node, b_node], gradient, gradients| {
            let grad_y = gradient.read();
            for (by, node) in [(Operand::B, b_node), (Operand::A, a_node)] {
                // What nobody needs may have changed since.
                if node.is_none() {
                    continue;
                }
                let own = if by == Operand::A { &saved.0 } else { &saved.1 }.shape();
                let needs = needs[by as usize];
                let (a, b) = (saved.0.read_if(needs[0])?, saved.1.read_if(needs[1])?);
                let slope = |grad: Output<'_, Device, T>| {
                    let (a, b, dy) = (a.view(), b.view(), grad_y.view());
                    device.binary_backward(function, by, &geometry, a, b, dy, grad)
                };
                to_operand(&device, gradient.shape(), own, node, gradients, slope)?;
            }
            Ok(())
        }))
    }
}

/// Hands `sign` times `gradient`, 1 or -1, on to an operand of shape `own`.
fn pass_on<T: Float>(
    device: &Device,
    sign: i8,
    own: &Shape,
    node: Option<NodeId>,
    gradient: Tensor<T>,
    gradients: &mut Gradients<'_, T>,
) -> Result<()> {
    if own == gradient.shape() && sign == 1 {
        return gradients.pass(node, gradient);
    }
    let sign = T::of(f64::from(sign));
    if own != gradient.shape() {
        return sum_to(&gradient, own, sign, node, gradients);
    }
    let Some(grad) = gradients.output(node, own.numel())? else { return Ok(()) };
    let dy = gradient.read();
    device.unary_backward(Unary::mul_scalar, [sign; 2], dy.view(), dy.view(), grad)
}

/// Has `write` compute an operand's gradient, and adds it up where the operand of shape `own` was repeated
/// to `shape`.
fn to_operand<T: Float>(
    device: &Device,
    shape: &Shape,
    own: &Shape,
    node: Option<NodeId>,
    gradients: &mut Gradients<'_, T>,
    write: impl FnOnce(Output<'_, Device, T>) -> Result<()>,
) -> Result<()> {
    if own == shape {
        return gradients.output(node, own.numel())?.map_or(Ok(()), write);
    }
    let mut whole = device.alloc(shape.numel())?;
    write(Output { view: Device::view_mut(&mut whole), accumulate: false })?;
    let whole = Tensor::from_buffer(device, whole, shape.clone());
    sum_to(&whole, own, T::one(), node, gradients)
}
