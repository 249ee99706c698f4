//! Scenarios: worlds with known truth, played in virtual time against the use cases.
//!
//! One file per scenario with its options, its `run` and its report; a new one is its file, a line here and a line in the command line.
pub mod alias;
pub mod best_arm;
pub mod blast;
pub mod calibration;
pub mod chapelle_li;
pub mod delay;
pub mod drift;
pub mod faults;
pub mod forecast;
pub mod funnel;
pub mod google;
pub mod guardrail;
pub mod holdout;
pub mod lai_robbins;
pub mod off_policy;
pub mod planner;
pub mod proxy;
pub mod segments;
pub mod send_time;
pub mod unknown_zone;
pub mod value;

/// A scenario as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
}

/// All scenarios.
pub const SCENARIOS: [Scenario; 20] = [
    blast::SCENARIO,
    calibration::SCENARIO,
    delay::SCENARIO,
    drift::SCENARIO,
    forecast::SCENARIO,
    guardrail::SCENARIO,
    holdout::SCENARIO,
    off_policy::SCENARIO,
    planner::SCENARIO,
    best_arm::SCENARIO,
    alias::SCENARIO,
    lai_robbins::SCENARIO,
    chapelle_li::SCENARIO,
    google::SCENARIO,
    proxy::SCENARIO,
    value::SCENARIO,
    send_time::SCENARIO,
    unknown_zone::SCENARIO,
    segments::SCENARIO,
    faults::SCENARIO,
];
