//! How a function of a library of NVIDIA's is called: by a pointer of our own, which answers with a
//! number.
//!
//! A driver or compiler may answer what no header of ours lists, being newer or a stub. cudarc
//! declares the answer as a Rust `enum`, and a number that is no value of it must not even come into
//! being. So its functions are not called: their types serve the compiler as the check of ours.
#![forbid(unsafe_op_in_unsafe_fn)]

/// Declares functions of a library and [`FUNCTIONS`](super::driver::FUNCTIONS), the list of them.
///
/// A `required` one must be there, an `optional` one may be missing; the parameters of both are
/// compared with cudarc's. An `unlisted` one may be missing too, and cudarc has it not, or with an
/// `enum`: its parameters are those of NVIDIA's header.
///
/// The place of use has `sys`, cudarc's module; `Declared`, the answer that cudarc declares; and
/// `Failure`, ours, with `check(c_int) -> Result<(), Failure>` and `MISSING`.
macro_rules! functions {
    (@is_required required) => { true };
    (@is_required $other:ident) => { false };
    (@compare unlisted $name:ident($($type:ty),*)) => {};
    (@compare $kind:ident $name:ident($($type:ty),*)) => {
        const _: unsafe fn($($type),*) -> Declared = sys::$name;
    };
    ($($kind:ident fn $name:ident($($argument:ident: $type:ty),* $(,)?);)*) => {
        /// Every function of the library that this crate calls, and whether it must be there.
        pub(super) const FUNCTIONS: &[(&str, bool)] =
            &[$((stringify!($name), functions!(@is_required $kind))),*];
        $(
            /// NVIDIA's function of this name.
            ///
            /// # Safety
            /// As NVIDIA asks of the caller; and the library is there.
            #[allow(non_snake_case, clippy::too_many_arguments)]
            pub(super) unsafe fn $name($($argument: $type),*) -> Result<(), Failure> {
                functions!(@compare $kind $name($($type),*));
                type Function = unsafe extern "C" fn($($type),*) -> std::ffi::c_int;
                static FUNCTION: std::sync::OnceLock<Option<Function>> = std::sync::OnceLock::new();
                let function = FUNCTION.get_or_init(|| {
                    let name = stringify!($name).as_bytes();
                    // SAFETY: the library is there, as the caller knows. These are the parameters
                    // that NVIDIA declares, and an answer that is an `enum` of C, an `int`.
                    unsafe { sys::culib().get::<Function>(name) }.ok().map(|symbol| *symbol)
                });
                match function {
                    // SAFETY: as the caller promises.
                    Some(function) => Failure::check(unsafe { function($($argument),*) }),
                    None => Err(Failure::MISSING),
                }
            }
        )*
    };
}
pub(super) use functions;
