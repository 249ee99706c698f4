//! The integration tests: hermod as its callers meet it, behind real sockets on loopback with a clock that the tests move; and the whole
//! tree: its layers, its documents, its old records, the binary itself.
//!
//! One binary, so that it links once. Nothing sleeps, and every server listens on ports of its own, so that all tests may run at once.

mod refusal;
mod server;

mod acknowledgements;
mod api_backup;
mod api_capacity;
mod api_decisions;
mod api_erasure;
mod api_feedback;
mod api_health;
mod api_histories;
mod api_journey;
mod api_objectives;
mod api_operations;
mod api_planning;
mod api_privacy;
mod api_rates;
mod api_reflection;
mod api_refusals;
mod api_refusals_events;
mod api_refusals_experiments;
mod api_restart;
mod api_shadow;
mod api_times;
mod api_wire;
mod bench;
mod consent;
mod crash;
mod damage;
mod decision_log;
mod documentation;
mod fuzz;
mod hostile;
mod inspect_cli;
mod layering;
mod limits;
mod retention;
mod samples;
mod security;
mod tenants;
mod threads;
