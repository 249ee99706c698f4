//! hermod decides, for each e-mail, which variant a recipient gets and when to send it, and learns from what comes back.
//!
//! # The map
//!
//! Imports point inwards only: [`domain`] imports nothing, [`store`] the domain, [`app`] both, and everything else calls the app.
//!
//! * [`domain`], pure rules
//!   * which variant: [`domain::experiment`], [`domain::cell`] and [`domain::exposure`] count; [`domain::delay`] and
//!     [`domain::posterior`] say what the counts mean while answers are still coming; [`domain::quadrature`] computes who is best;
//!     [`domain::policy`] (one file per policy) turns that into shares, [`domain::snapshot`] prepares them, [`domain::decide`] draws
//!   * when: [`domain::activity`] and [`domain::hour_activity`] remember hours, [`domain::send_time`] finds the best instant that
//!     [`domain::send_window`] allows, [`domain::civil`] knows zones
//!   * events: [`domain::event`] has the kinds, [`domain::human`] weighs them, [`domain::feedback`] decides what counts,
//!     [`domain::contribution`] what that adds to sums, [`domain::recipient`] is what is kept of a person
//! * [`store`], durable state behind the trait [`store::Engine`]; [`store::records`] has every record and key
//! * [`app`], the use cases on [`app::App`]: decide, predict, report, manage, read, erase
//! * [`lab`], measurements of the use cases on real data and in simulated worlds
//! * [`grpc`], the interface: checks, converts, answers
//! * [`ops`], what a running process needs; [`ops::compose`] puts everything together from a [`ops::config::Config`]
//! * [`mod@bench`], what answers cost, against services that do nothing
//! * [`cli`], the subcommands
//!
//! # Where to begin
//!
//! A decision goes through [`app::App::decide`] to [`domain::decide::decide`]; an event through [`app::App::report`] to
//! [`domain::feedback::apply`]. `docs/architecture.md` draws both ways and says where a new policy, engine or field goes.
pub mod app;
pub mod bench;
pub mod cli;
pub mod domain;
pub mod grpc;
pub mod lab;
pub mod ops;
pub mod store;
