//! Pure rules: no IO, no clock, no global randomness, no async, no logging.
//!
//! Time and randomness come in as arguments. Everything here can be called from a test with nothing set up.

pub mod allocation;
pub mod delay;
pub mod exposure;
pub mod policy;
pub mod posterior;
pub mod quadrature;
pub mod shape;
