//! hermod as its callers meet it: a running server behind real sockets on loopback, with a clock that the tests move.
//!
//! Nothing sleeps, and every server listens on ports of its own, so that all tests may run at the same time.
#[path = "integration/server.rs"]
mod server;

#[path = "integration/api_decisions.rs"]
mod api_decisions;
#[path = "integration/api_journey.rs"]
mod api_journey;
#[path = "integration/api_reflection.rs"]
mod api_reflection;
#[path = "integration/api_times.rs"]
mod api_times;
