//! hermod as its callers meet it: a running server behind real sockets on loopback, with a clock that the tests move.
//!
//! Nothing sleeps, and every server listens on ports of its own, so that all tests may run at the same time.
#[path = "integration/api_decisions.rs"]
mod api_decisions;
#[path = "integration/api_feedback.rs"]
mod api_feedback;
#[path = "integration/api_health.rs"]
mod api_health;
#[path = "integration/api_histories.rs"]
mod api_histories;
#[path = "integration/api_journey.rs"]
mod api_journey;
#[path = "integration/api_privacy.rs"]
mod api_privacy;
#[path = "integration/api_reflection.rs"]
mod api_reflection;
#[path = "integration/api_refusals.rs"]
mod api_refusals;
#[path = "integration/api_refusals_events.rs"]
mod api_refusals_events;
#[path = "integration/api_refusals_experiments.rs"]
mod api_refusals_experiments;
#[path = "integration/api_restart.rs"]
mod api_restart;
#[path = "integration/api_times.rs"]
mod api_times;
#[path = "integration/api_wire.rs"]
mod api_wire;
#[path = "integration/refusal.rs"]
mod refusal;
#[path = "integration/server.rs"]
mod server;
