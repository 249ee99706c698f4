//! Fuzzing without instrumentation: valid inputs of every door of the program, changed at random, and what must hold whatever comes in.
//!
//! Invariant: a round depends on its target and seed alone, so what it finds is found again. Used by the command (`main.rs`) and, with
//! few rounds, by the integration tests. How long to go on, and watching over time and memory, is left to them.

pub mod doors;
pub mod files;
pub mod history;
pub mod messages;
pub mod mutation;
pub mod schema;
pub mod world;
