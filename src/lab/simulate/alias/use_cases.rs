//! The same through the use cases: what they choose against the propensities that they state.
//!
//! Invariant: nothing is recorded while counting, so that all decisions come from one snapshot.
use crate::domain::event::EventKind;
use crate::domain::experiment::{Objective, Settings};
use crate::domain::policy::Policy;
use crate::lab::LabError;
use crate::lab::campaign::{
    answered, campaign_settings, decide, report, request_now, start_campaign,
};
use crate::lab::rig::{Rig, ready};
use crate::lab::streams::{Stream, StreamName};

use super::counts::{ChiSquare, Weighted, share_within};
use super::{Options, Row};

/// True open rates.
const RATES: [f64; 4] = [0.20, 0.21, 0.22, 0.24];
/// Mails that the campaign has learned from.
const MAILS: u64 = 2_000;
/// Until all answers are in and none is pending.
const SETTLED_HOURS: f64 = 2_000.0;

/// Decides for recipients that nothing is recorded of, and counts.
pub fn counted(options: &Options) -> Result<Row, LabError> {
    let rig = Rig::new(options.seed)?;
    let settings = Settings {
        policy: Policy::Thompson,
        ..campaign_settings(Objective::Open, 0)
    };
    let name = start_campaign(&rig, RATES.len(), settings)?;
    let mut luck = Stream::new(StreamName {
        seed: options.seed,
        world: "alias",
        purpose: "answers",
    });
    let mut opens = Vec::new();
    for recipient in 0..MAILS {
        let (arm, token) = decide(&rig, &request_now(&name, recipient, rig.app.now()))?;
        if RATES.get(arm).is_some_and(|rate| luck.unit() < *rate) {
            opens.push(answered(token, EventKind::Opened, rig.app.now()));
        }
    }
    report(&rig, opens)?;
    rig.advance_hours(SETTLED_HOURS);
    rig.app.refresh();
    let (mut counts, mut propensities) = (vec![0; RATES.len()], Vec::new());
    for recipient in 0..options.decisions {
        let mut request = request_now(&name, MAILS + recipient, rig.app.now());
        (request.validate_only, request.full) = (true, true);
        let decided = ready(rig.app.decide(&request))??;
        let answer = decided
            .answer
            .map_err(|_| LabError::Defect("hermod would not send"))?;
        let table = answer
            .table
            .ok_or(LabError::Defect("an answer came without its table"))?;
        let arm = usize::from(answer.variant.0);
        if (answer.propensity - table.allocation.propensity(arm)).abs() > 1e-12 {
            return Err(LabError::Defect("a stated propensity is not the table's"));
        }
        if let Some(count) = counts.get_mut(arm) {
            *count += 1;
        }
        propensities = table.allocation.probabilities().to_vec();
    }
    Ok(Row {
        what: "through the use cases".to_owned(),
        arms: RATES.len(),
        draws: options.decisions,
        fit: ChiSquare::against(&counts, &propensities),
        direct: None,
        identity: Weighted::of(&counts, &propensities),
        arms_within: share_within(&counts, &propensities),
    })
}
