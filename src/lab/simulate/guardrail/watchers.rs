//! Who watches a campaign of `guardrail`: the rule alone, or the use cases.
//!
//! Invariant: a watcher is told of mails and complaints in the order of time and knows nothing of the true rate.
use super::{Campaign, Options, Rule};
use crate::domain::arrivals::Arrivals;
use crate::domain::cell::Harm;
use crate::domain::delay::learning::DelayEvidence;
use crate::domain::delay::{DelayCurve, TAU_HOURS, TERMS, decays};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Guardrails, Objective, Settings, VariantState};
use crate::domain::guardrail::{HarmEvidence, Lateness, QUARANTINE_ABOVE};
use crate::domain::name::{Slug, TenantId};
use crate::domain::policy::Policy;
use crate::lab::LabError;
use crate::lab::campaign::{
    ATTRIBUTION_HOURS, answered, campaign_settings, decide, report, request_now, start_campaign,
};
use crate::lab::rig::{Rig, after_hours, start};

/// Takes mails and complaints, and says when to stop.
pub trait Watcher {
    /// A mail leaves.
    fn send(&mut self, number: u32, at_hours: f64) -> Result<(), LabError>;
    /// A mail brought a complaint; answers whether the variant is stopped.
    fn complain(&mut self, number: u32, at_hours: f64) -> Result<bool, LabError>;
}

/// The guardrail alone.
pub struct Counts {
    rule: Rule,
    guardrails: Guardrails,
    of_clicks: DelayCurve,
    mails_per_hour: f64,
    mails: u32,
    complaints: f64,
    arrivals: Arrivals,
}

/// The use cases.
pub struct UseCases {
    rig: Rig,
    id: Slug,
    tokens: Vec<String>,
    next: u64,
}

// === impl Counts ===

impl Counts {
    pub fn new(options: &Options, rule: Rule) -> Self {
        Self {
            rule,
            guardrails: only_complaints(options.limit),
            of_clicks: DelayCurve::default_click().within(ATTRIBUTION_HOURS),
            mails_per_hour: options.mails_per_hour,
            mails: 0,
            complaints: 0.0,
            arrivals: Arrivals::default(),
        }
    }

    /// `D_j` of evenly spaced mails: a geometric series from the youngest one on.
    fn pending(&self, at_hours: f64) -> [f64; TERMS] {
        let last_hours = f64::from(self.mails.saturating_sub(1)) / self.mails_per_hour;
        let youngest = decays((at_hours - last_hours).max(0.0));
        let step = TAU_HOURS.map(|tau| -1.0 / (self.mails_per_hour * tau));
        let mails = f64::from(self.mails);
        std::array::from_fn(|j| youngest[j] * (mails * step[j]).exp_m1() / step[j].exp_m1())
    }

    fn lateness(&self, pending: [f64; TERMS]) -> Lateness {
        match self.rule {
            Rule::Whole => Lateness::none(),
            Rule::ByAge => Lateness::judged(
                &self.of_clicks,
                &DelayEvidence {
                    arrived: self.arrivals.harm(),
                    trials: f64::from(self.mails),
                    pending,
                    successes: self.complaints,
                    window_hours: 720.0,
                    importance: 1.0,
                },
            ),
        }
    }
}

fn only_complaints(limit: f64) -> Guardrails {
    Guardrails {
        complaint_rate_max: limit,
        unsubscribe_rate_max: 1.0,
        bounce_rate_max: 1.0,
        negative_reply_rate_max: 1.0,
    }
}

impl Watcher for Counts {
    fn send(&mut self, _number: u32, _at_hours: f64) -> Result<(), LabError> {
        self.mails += 1;
        Ok(())
    }

    fn complain(&mut self, number: u32, at_hours: f64) -> Result<bool, LabError> {
        self.complaints += 1.0;
        let sent_hours = f64::from(number) / self.mails_per_hour;
        self.arrivals.count_harm(at_hours - sent_hours, 1.0);
        let pending = self.pending(at_hours);
        let evidence = HarmEvidence {
            mails: f64::from(self.mails),
            pending,
            harm: Harm {
                complained: self.complaints,
                ..Harm::default()
            },
        };
        let lateness = self.lateness(pending);
        let readings = self.guardrails.readings(&evidence, &lateness);
        Ok(readings
            .iter()
            .any(|reading| reading.probability > QUARANTINE_ABOVE))
    }
}

// === impl UseCases ===

impl UseCases {
    /// A campaign of two variants, nearly all mails with the second.
    pub fn new(campaign: &Campaign<'_>) -> Result<Self, LabError> {
        let rig = Rig::new(campaign.rig_seed)?;
        let settings = Settings {
            policy: Policy::Fixed {
                weights: vec![1.0, 1e6],
            },
            floor: 0.0,
            guardrails: only_complaints(campaign.options.limit),
            ..campaign_settings(Objective::Click, 0)
        };
        let id = start_campaign(&rig, 2, settings)?;
        Ok(Self {
            rig,
            id,
            tokens: Vec::new(),
            next: 0,
        })
    }
}

impl Watcher for UseCases {
    fn send(&mut self, number: u32, at_hours: f64) -> Result<(), LabError> {
        let at = after_hours(start(), at_hours);
        self.rig.set(at);
        // The few mails with the other variant are further mails.
        while self.tokens.len() <= number as usize {
            self.next += 1;
            let (arm, token) = decide(&self.rig, &request_now(&self.id, self.next, at))?;
            if arm == 1 {
                self.tokens.push(token);
            }
        }
        Ok(())
    }

    fn complain(&mut self, number: u32, at_hours: f64) -> Result<bool, LabError> {
        let at = after_hours(start(), at_hours);
        self.rig.set(at);
        let token = self.tokens.get(number as usize).cloned();
        let token = token.ok_or(LabError::Defect("a complaint about a mail that never left"))?;
        report(&self.rig, vec![answered(token, EventKind::Complained, at)])?;
        let experiment = self.rig.app.experiment(TenantId::DEFAULT, &self.id)?;
        let states = experiment.variants.iter().map(|variant| variant.state);
        Ok(states
            .skip(1)
            .any(|state| state == VariantState::Quarantined))
    }
}
