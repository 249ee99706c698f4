//! Pure rules: no IO, no clock, no global randomness, no async, no logging.
//!
//! Time and randomness come in as arguments. Everything here can be called from a test with nothing set up.

pub mod active_hours;
pub mod activity;
pub mod alert;
pub mod allocation;
pub mod arrivals;
pub mod basis;
pub mod beliefs;
pub mod cell;
pub mod civil;
pub mod content_id;
pub mod context;
pub mod contribution;
pub mod decide;
pub mod decision_log;
pub mod delay;
pub mod draws;
pub mod event;
pub mod experiment;
pub mod exposure;
pub mod feedback;
pub mod freshness;
pub mod gamma_shape;
pub mod guardrail;
pub mod hour_activity;
pub mod human;
pub mod name;
pub mod off_policy;
pub mod oversight;
pub mod planner;
pub mod policy;
pub mod posterior;
pub mod quadrature;
pub mod recipient;
pub mod sample_ratio;
pub mod send_plan;
pub mod send_time;
pub mod send_window;
pub mod shape;
pub mod snapshot;
pub mod standing;
pub mod timeline;
pub mod token;
pub mod uplift;
pub mod value_remaining;
