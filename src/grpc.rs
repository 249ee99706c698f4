//! The wire: thin handlers that check, convert, call the use cases and map errors.
//!
//! Wire types never go below this layer.
pub mod wire;
