//! The harness: the real binary as a child process, callers that keep a model of what was acknowledged to them, and the comparison.
//!
//! Invariant: the model changes only by an acknowledgement that a caller has in hand, so whatever the server forgets shows. Used by the
//! command (`main.rs`) and by the integration tests; which faults happen is left to whoever runs a campaign.

pub mod admin;
pub mod caller;
pub mod calls;
pub mod campaign;
pub mod child;
pub mod company;
pub mod erasing;
pub mod image;
pub mod meter;
pub mod model;
pub mod probes;
pub mod report;
pub mod trouble;
pub mod verify;
