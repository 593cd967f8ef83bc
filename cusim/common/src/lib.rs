//! What the driver and the compiler stand-ins share.
//!
//! * [`calls`]: every API call passes here, to be counted, traced, or made to fail.
//! * [`blob`]: what the compiler hands out as "CUBIN" or "PTX" and the driver loads.

pub mod blob;
pub mod calls;
