//! Pure rules: no IO, no clock, no global randomness, no async, no logging.
//!
//! Time and randomness come in as arguments. Everything here can be called from a test with nothing set up.

pub mod activity;
pub mod civil;
pub mod freshness;
pub mod send_time;
pub mod send_window;
