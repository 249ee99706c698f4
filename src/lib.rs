//! hermod: which variant, and when to send.
pub mod domain;
pub mod store;
