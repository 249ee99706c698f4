//! Planning a blast: the question as the experiment or the caller puts it, and the planner's answer to it.
//!
//! Invariant: nothing is read but sums in memory, and nothing is recorded; the same question as of the same instant gets the same plan. It computes
//! for some tenths of a second, so callers on async threads hand it to one that may block.
use jiff::Timestamp;

use crate::domain::beliefs::Belief;
use crate::domain::cell::Lane;
use crate::domain::experiment::{Experiment, ExperimentState, Objective};
use crate::domain::exposure::Exposure;
use crate::domain::name::{Slug, TenantId, VariantIndex};
use crate::domain::planner::{self, Blast, BlastPlan, EFFECT_SCALE, PlanError};
use crate::domain::policy::Policy;

use super::{App, AppError, Kind, registry};

const HOUR_MS: f64 = 3_600_000.0;

/// Asks for the waves of a blast.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// What is to be sent.
    pub subject: PlanSubject,
    /// Mails to send; none for what an experiment has planned and not yet sent.
    pub audience: Option<u64>,
    /// When the first mail may leave; none for now.
    pub earliest_at: Option<Timestamp>,
    /// When the last mail must have left.
    pub deadline_at: Timestamp,
    /// Mails that can leave in an hour; none for the experiment's capacity, or any number.
    pub sends_per_hour: Option<f64>,
}

/// What a blast is of.
#[derive(Clone, Debug)]
pub enum PlanSubject {
    /// An experiment: its live variants, its policy and what is known of them.
    Experiment(Slug),
    /// Nothing that exists yet.
    Assumed(Assumptions),
}

/// A campaign that does not exist yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// Number of variants.
    pub variants: usize,
    /// What counts as success.
    pub objective: Objective,
    /// Expected rate; none for the tenant's own.
    pub rate: Option<f64>,
    /// Scale of the variants' effects in log-odds; none for the published one.
    pub effect_scale: Option<f64>,
}

/// A plan and when it begins.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: BlastPlan,
    /// When its first mail leaves.
    pub starts_at: Timestamp,
    /// Mails it is for.
    pub audience: u64,
    /// Whether the policy knows how many mails there will be; if not, it explores to the end.
    pub is_end_known: bool,
}

impl App {
    /// The waves that promise most, and what they promise.
    pub fn plan_blast(&self, request: &PlanRequest) -> Result<Planned, AppError> {
        let now = self.now();
        let starts_at = request.earliest_at.map_or(now, |at| at.max(now));
        let mut blast = match &request.subject {
            PlanSubject::Experiment(id) => self.blast_of(request.tenant, id, now)?,
            PlanSubject::Assumed(assumed) => self.assumed(request.tenant, assumed),
        };
        if let Some(audience) = request.audience {
            blast.audience = audience;
        }
        if let PlanSubject::Assumed(_) = request.subject {
            blast.planned_sends = blast.audience as f64;
        }
        blast.sends_per_hour = request.sends_per_hour.or(blast.sends_per_hour);
        let hours = |from: Timestamp, to: Timestamp| {
            (to.as_millisecond() - from.as_millisecond()) as f64 / HOUR_MS
        };
        blast.lead_hours = hours(now, starts_at);
        blast.window_hours = hours(starts_at, request.deadline_at);
        let plan = planner::plan(&blast, seed_of(&blast)).map_err(refused)?;
        Ok(Planned {
            plan,
            starts_at,
            audience: blast.audience,
            is_end_known: blast.planned_sends > 0.0,
        })
    }

    fn blast_of(&self, tenant: TenantId, id: &Slug, now: Timestamp) -> Result<Blast, AppError> {
        let live = self
            .registry
            .by_name(tenant, id)
            .ok_or_else(|| AppError::no_experiment(id.as_str()))?;
        let experiment = live.experiment();
        if experiment.state == ExperimentState::Concluded {
            let message = format!("experiments/{id} is concluded; there is nothing left to plan");
            return Err(AppError::new(
                Kind::FailedPrecondition,
                "WRONG_STATE",
                message,
            ));
        }
        let settings = &experiment.settings;
        let beliefs =
            live.beliefs(&|tenant, objective| self.registry.expected_rate(tenant, objective));
        let cells = live.sums().due(now);
        let known_of = |variant: &VariantIndex| {
            let mut known = Exposure::default();
            let own = cells
                .iter()
                .filter(|(id, _)| id.variant == *variant && id.lane == Lane::Policy);
            own.for_each(|(_, cell)| known.add(cell.objective(settings.objective)));
            known
        };
        let variants = experiment.live_variants();
        let known: Vec<Exposure> = variants.iter().map(known_of).collect();
        let sent: f64 = known.iter().map(|known| known.trials.max(0.0)).sum();
        Ok(Blast {
            policy: policy_over(&experiment, &variants),
            floor: settings.floor,
            planned_sends: settings.planned_sends as f64,
            holdout_share: settings.holdout_share,
            audience: (settings.planned_sends as f64 - sent).max(0.0) as u64,
            sends_per_hour: settings
                .capacity
                .as_ref()
                .map(|capacity| capacity.sends_per_hour as f64),
            ..self.unknown(*beliefs.of(settings.objective), known)
        })
    }

    fn assumed(&self, tenant: TenantId, assumed: &Assumptions) -> Blast {
        // One too many is refused like any number of them, and costs no memory.
        let variants = assumed.variants.min(planner::VARIANTS_MAX + 1);
        let beliefs = registry::beliefs(tenant, &|tenant, objective| {
            self.registry.expected_rate(tenant, objective)
        });
        let belief = *beliefs.of(assumed.objective);
        let mut blast = self.unknown(belief, vec![Exposure::default(); variants]);
        if let Some(rate) = assumed.rate {
            blast.belief.prior.mean = rate;
        }
        blast.effect_scale = assumed.effect_scale.unwrap_or(EFFECT_SCALE);
        blast
    }

    /// A blast under these beliefs and the default policy.
    fn unknown(&self, belief: Belief, known: Vec<Exposure>) -> Blast {
        Blast {
            known,
            belief,
            policy: Policy::default(),
            floor: self.settings.default_floor,
            planned_sends: 0.0,
            effect_scale: EFFECT_SCALE,
            holdout_share: 0.0,
            audience: 0,
            lead_hours: 0.0,
            window_hours: 0.0,
            sends_per_hour: None,
        }
    }
}

/// Fixed weights are given by position in the experiment; the planner knows live variants only.
fn policy_over(experiment: &Experiment, variants: &[VariantIndex]) -> Policy {
    match &experiment.settings.policy {
        Policy::Fixed { weights } => Policy::Fixed {
            weights: variants
                .iter()
                .map(|variant| weights.get(usize::from(variant.0)).copied().unwrap_or(0.0))
                .collect(),
        },
        policy => policy.clone(),
    }
}

/// The same question draws the same worlds.
fn seed_of(blast: &Blast) -> u64 {
    let digest = blake3::hash(format!("{blast:?}").as_bytes());
    digest
        .as_bytes()
        .iter()
        .take(8)
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn refused(error: PlanError) -> AppError {
    let field = match error {
        PlanError::Variants { .. } => "assumptions.variant_count",
        PlanError::Audience { .. } => "audience",
        PlanError::Number { what, .. } if what.contains("window") => "deadline_time",
        PlanError::Number { what, .. } if what.contains("first mail") => "earliest_time",
        PlanError::Number { what, .. } if what.contains("per hour") => "sends_per_hour",
        PlanError::Number { what, .. } if what.contains("effects") => "assumptions.effect_spread",
        PlanError::Number { .. } => "assumptions.base_rate",
    };
    AppError::invalid_field("INVALID_FIELDS", field, error.to_string())
}
