//! Logs with a known truth: drawn from hermod's snapshots, or made by its use cases and read from their decision log.
//!
//! Invariant: a send's luck decides whether it would be opened under each variant, before anybody chooses.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::name::{TenantId, VariantIndex};
use crate::domain::off_policy::Sample;
use crate::domain::policy::Policy;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot, default_curve};
use crate::lab::LabError;
use crate::lab::campaign::{
    ATTRIBUTION_HOURS, answered, campaign, campaign_settings, decide, report, request_now,
    start_campaign,
};
use crate::lab::log::{Question, Target as LogTarget, samples_of};
use crate::lab::rig::{Rig, after_hours, ready, start};
use crate::lab::streams::{Stream, StreamName};

use super::Options;

/// Sends per hour of virtual time in a rig.
const SENDS_PER_HOUR: f64 = 10_000.0;

fn stream(seed: u64, purpose: &str) -> Stream {
    Stream::new(StreamName {
        seed,
        world: "off-policy",
        purpose,
    })
}

fn settings(floor: f64) -> Settings {
    Settings {
        policy: Policy::Thompson,
        floor,
        ..campaign_settings(Objective::Open, 0)
    }
}

fn is_opened(options: &Options, arm: usize, luck: f64) -> bool {
    options.rates.get(arm).is_some_and(|rate| luck < *rate)
}

/// A log drawn from snapshots under Thompson sampling, each answer known at the next look. Targets are left empty.
pub fn from_snapshots(options: &Options, floor: f64, seed: u64) -> Result<Vec<Sample>, LabError> {
    let arms = options.rates.len();
    let experiment = Arc::new(campaign(arms, settings(floor))?);
    let (mut lucks, mut draws) = (stream(seed, "luck"), stream(seed, "draws"));
    let mut known = vec![(0.0, 0.0); arms];
    let mut log = Vec::with_capacity(options.sends);
    while log.len() < options.sends {
        let snapshot = snapshot(&experiment, &known);
        let table = snapshot
            .everyone()
            .ok_or(LabError::Defect("a snapshot has no table"))?;
        for _ in 0..options.refresh_sends.min(options.sends - log.len()) {
            let action = table.allocation.draw(draws.bits());
            let reward = f64::from(u8::from(is_opened(options, action, lucks.unit())));
            if let Some((trials, successes)) = known.get_mut(action) {
                *trials += 1.0;
                *successes += reward;
            }
            log.push(Sample {
                action,
                reward,
                propensity: table.allocation.propensity(action),
                logged: table.allocation.probabilities().to_vec(),
                target: Vec::new(),
            });
        }
    }
    Ok(log)
}

/// The snapshot when so many trials of each variant are answered in full.
fn snapshot(experiment: &Arc<Experiment>, known: &[(f64, f64)]) -> Snapshot {
    let cell = |(arm, (trials, successes)): (u16, &(f64, f64))| {
        let id = CellId {
            experiment: experiment.uid,
            variant: VariantIndex(arm),
            context: Context::default(),
            lane: Lane::Policy,
            track: Track::CONFIGURED,
        };
        let open = Exposure {
            trials: *trials,
            successes: *successes,
            ..Exposure::default()
        };
        let cell = Cell {
            open,
            ..Cell::empty(start(), None)
        };
        (id, cell)
    };
    let cells: BTreeMap<CellId, Cell> = (0..).zip(known).map(cell).collect();
    let beliefs = Beliefs::alike(Belief {
        prior: Prior {
            mean: 0.2,
            weight: 10.0,
        },
        curve: default_curve(Objective::Open),
    });
    Snapshot::build(experiment.clone(), &cells, &beliefs, 1, start())
}

/// A log made by the use cases, where opens are reported at each look, and read from the decision log once all has matured.
pub fn through_use_cases(
    options: &Options,
    floor: f64,
    seed: u64,
) -> Result<Vec<Sample>, LabError> {
    let rig = Rig::with_decision_log(seed)?;
    let name = start_campaign(&rig, options.rates.len(), settings(floor))?;
    let mut lucks = stream(seed, "luck");
    let mut request = request_now(&name, 0, start());
    let mut opens = Vec::new();
    for send in 0..options.sends {
        let now = after_hours(start(), send as f64 / SENDS_PER_HOUR);
        rig.set(now);
        if send % options.refresh_sends == 0 {
            report(&rig, std::mem::take(&mut opens))?;
            rig.app.refresh();
        }
        request.recipient_id = send.to_string();
        request.send_at = Some(now);
        let (arm, token) = decide(&rig, &request)?;
        if is_opened(options, arm, lucks.unit()) {
            opens.push(answered(token, EventKind::Opened, now));
        }
    }
    report(&rig, opens)?;
    rig.advance_hours(ATTRIBUTION_HOURS + 1.0);
    let question = Question {
        tenant: TenantId::DEFAULT,
        experiment: name,
        target: LogTarget::Uniform,
        objective: None,
        as_of: rig.app.now(),
    };
    let found = ready(samples_of(&rig.app, &question))??;
    Ok(found.samples)
}
